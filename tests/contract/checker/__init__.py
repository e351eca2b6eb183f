"""Compare OpenAPI documents, webhook deliveries and settings with the contract; nothing here knows our code."""
