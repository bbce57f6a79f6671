"""One typed function per system call that Python lacks.

Every function raises OSError and holds no policy. The modules import nothing but ctypes and os, because the process
that forks containers starts with them alone.
"""
