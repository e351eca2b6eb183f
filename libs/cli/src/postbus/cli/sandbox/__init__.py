"""`postbus up --sandbox`: a throwaway mail server on loopback with two accounts, for who has no mailbox to spare."""
