"""The webhooks service as a process of its own, with short gaps between tries."""

from datetime import timedelta
from functools import partial

from postbus.common.service import run_service
from postbus.webhooks.retries import RetrySchedule
from postbus.webhooks.service import serve

if __name__ == "__main__":
    gaps = RetrySchedule(first=timedelta(milliseconds=40), longest=timedelta(milliseconds=160))
    run_service("webhooks", partial(serve, schedule=gaps))
