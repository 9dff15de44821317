"""The service cores, rpc, store and layout call no function that asks the operating system for something.

Looks at the undefined symbols of their object files in build/rel. Includes cannot show this: the header of S_IFDIR
declares stat() too. Calls by function pointer go through env, which is the point. LMDB's own calls are inside LMDB.
"""

import json
import os
import re
import subprocess
import sys

import gatelib

MODULES = ("rpc", "store", "layout", "mgs", "mds", "oss", "client", "tier")
BANNED = set("""
open openat creat close read write pread pwrite readv writev preadv pwritev preadv2 pwritev2 lseek fsync
fdatasync syncfs sync_file_range fallocate ftruncate truncate posix_fallocate mmap munmap msync madvise mlock
stat lstat fstat fstatat statx statvfs fstatvfs statfs fstatfs mkdir mkdirat mknod rmdir unlink unlinkat rename
renameat renameat2 link linkat symlink symlinkat readlink readlinkat chmod fchmod chown fchown lchown utimensat futimens
opendir fdopendir readdir closedir scandir getdents64 access faccessat dup dup2 dup3 pipe pipe2 fcntl ioctl
setxattr getxattr listxattr removexattr fsetxattr fgetxattr flock
socket bind listen accept accept4 connect send sendto sendmsg recv recvfrom recvmsg shutdown getaddrinfo
getsockopt setsockopt getsockname getpeername poll ppoll select pselect epoll_create1 epoll_ctl epoll_wait eventfd
time gettimeofday clock_gettime clock_nanosleep nanosleep sleep usleep alarm timer_create timerfd_create
random rand srand srandom drand48 getrandom getentropy RAND_bytes RAND_priv_bytes arc4random
fork vfork execve execvp posix_spawn system popen kill raise getpid getppid gettid getuid geteuid getgid
signal sigaction sigprocmask wait waitpid exit _exit atexit getenv setenv secure_getenv gethostname uname sysconf
pthread_create pthread_join pthread_mutex_lock pthread_cond_wait pthread_rwlock_rdlock pthread_self sem_wait syscall
fopen fdopen fclose fread fwrite fgets fputs fflush printf fprintf vprintf vfprintf puts putchar perror
""".split())
ALIAS = re.compile(r"^(?:__)?(\w+?)(?:64)?(?:_time64|_chk)?(?:@.*)?$")


def symbol_banned(symbol):
    plain = symbol.split("@")[0]
    match = ALIAS.match(plain)
    return plain in BANNED or (match is not None and match.group(1) in BANNED)


def objects_of(gate, build):
    """The object files that the build makes from the modules' sources; left-overs of older builds are not listed."""
    with open(os.path.join(build, "compile_commands.json"), encoding="utf-8") as file:
        entries = json.load(file)
    found = []
    for entry in entries:
        source = os.path.relpath(os.path.join(entry["directory"], entry["file"]), gate.root)
        folders = source.split("/")
        if folders[0] == "src" and folders[1] in MODULES and source not in gatelib.SYSTEM_SIDE:
            found.append(os.path.join(entry["directory"], entry["output"]))
    return sorted(set(found))


def check_object(gate, path):
    run = subprocess.run(["nm", "-u", "--format=posix", path], capture_output=True, text=True, check=False)
    if run.returncode != 0:
        sys.exit("syscalls: nm failed on %s: %s" % (path, run.stderr))
    for line in run.stdout.splitlines():
        symbol = line.split()[0]
        if symbol_banned(symbol):
            gate.violation(os.path.relpath(path, gate.root), "calls %s(); that is what env is for" % symbol)


def main():
    gate = gatelib.Gate("syscalls", lambda p: p.add_argument("--build", default="build/rel"))
    gate.what = "object files"
    for path in objects_of(gate, gate.path(gate.args.build)):
        gate.looked += 1
        check_object(gate, path)
    gate.finish()


main()
