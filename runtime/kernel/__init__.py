"""The one seam to libc, system calls, cgroup files, nftables and seccomp; standard library only."""
