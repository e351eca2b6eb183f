"""`postbus up`: embedded NATS and Valkey, then one process per service, watched until somebody says stop.

Three kinds of processes: the supervisor decides, the zygote forks (it has the code of all services loaded, and no
thread), and the children work. When the supervisor dies, the kernel takes all others with it.
"""
