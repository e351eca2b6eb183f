"""What is known of an account's mailboxes: packed indexes, rows, numbers, and the one script that changes them."""
