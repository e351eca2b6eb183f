"""HTML of mail made safe to show. All of it is pure, and runs in a process of its own: see `sanitiser`."""
