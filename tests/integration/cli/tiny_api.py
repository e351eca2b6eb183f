"""The smallest service that answers `/health`: what the supervisor watches, without what the real one needs."""

import asyncio

from postbus.common.service import Parts


async def serve(parts: Parts) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (await reader.readline()).strip():
            pass
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, parts.config.host, parts.config.port)
    async with server:
        await server.serve_forever()
