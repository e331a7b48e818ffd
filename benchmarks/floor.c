/* The floor: what the kernel itself takes for one container, asked by the smallest program that can ask.
 *
 *     floor LOWER SCRATCH
 *
 * For each byte on standard input one container is made, runs `true` of busybox in LOWER, and is taken away again; its
 * nanoseconds are printed as one line. `p`: new mount, pid, uts and ipc namespaces; `n`: a network namespace too, with
 * its loopback up. Each has an overlay root and proc, dev, pts, shm and sys of its own, and enters it by pivot_root(2).
 * No user namespace, limits, seccomp, log or record: a floor, not an engine. SCRATCH holds upper, work and root; what
 * the container left in them is removed outside the measured time.
 */
#define _GNU_SOURCE
#include <err.h>
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC)
#define PATH_BYTES 4096

static char root[PATH_BYTES], upper[PATH_BYTES], work[PATH_BYTES], overlay[3 * PATH_BYTES + 64];

static const struct { const char *path; int major, minor; } nodes[] = {
    {"dev/null", 1, 3}, {"dev/zero", 1, 5}, {"dev/full", 1, 7},
    {"dev/random", 1, 8}, {"dev/urandom", 1, 9}, {"dev/tty", 5, 0},
};

static void must(int result, const char *what)
{
    if (result < 0)
        err(1, "%s", what);
}

static void attach(const char *type, const char *target, unsigned long flags, const char *options)
{
    if (mkdir(target, 0755) < 0 && access(target, F_OK) < 0)
        err(1, "mkdir %s", target);
    must(mount(type, target, type, flags, options), target);
}

static void raise_loopback(void)
{
    struct ifreq request = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    must(fd, "socket");
    must(ioctl(fd, SIOCSIFFLAGS, &request), "loopback");
    close(fd);
}

static void make_root(void)
{
    must(mount(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL), "propagation");
    must(mount("overlay", root, "overlay", 0, overlay), "overlay");
    must(chdir(root), "chdir");
    attach("proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    attach("tmpfs", "dev", MS_NOSUID, "mode=755,size=64k");
    attach("devpts", "dev/pts", MS_NOSUID | MS_NOEXEC, "newinstance,ptmxmode=0666,mode=0620");
    attach("tmpfs", "dev/shm", MS_NOSUID | MS_NODEV | MS_NOEXEC, "mode=1777,size=64m");
    attach("sysfs", "sys", MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL);
    for (size_t i = 0; i < sizeof nodes / sizeof *nodes; i++)
        must(mknod(nodes[i].path, S_IFCHR | 0666, makedev(nodes[i].major, nodes[i].minor)), nodes[i].path);
    must(symlink("pts/ptmx", "dev/ptmx"), "ptmx");
    must(syscall(SYS_pivot_root, ".", "."), "pivot_root");
    must(umount2(".", MNT_DETACH), "umount2");
    must(chdir("/"), "chdir");
}

static _Noreturn void be_init(int has_network)
{
    char *arguments[] = {"true", NULL}, *environment[] = {"PATH=/bin", NULL};
    if (has_network)
        raise_loopback();
    must(sethostname("floor", 5), "sethostname");
    make_root();
    execve("/bin/busybox", arguments, environment);
    err(1, "execve");
}

static void run(int has_network)
{
    int status;
    long flags = NAMESPACES | (has_network ? CLONE_NEWNET : 0) | SIGCHLD;
    long pid = syscall(SYS_clone, flags, 0, 0, 0, 0);
    if (pid == 0)
        be_init(has_network);
    must((int)pid, "clone");
    must(waitpid((pid_t)pid, &status, 0), "waitpid");
    if (status)
        errx(1, "the container ended with status %d", status);
}

static void place(const char *scratch)
{
    snprintf(root, sizeof root, "%s/root", scratch);
    snprintf(upper, sizeof upper, "%s/upper", scratch);
    snprintf(work, sizeof work, "%s/work", scratch);
    must(mkdir(root, 0755), root);
}

static void refresh(void)
{
    char command[3 * PATH_BYTES];
    snprintf(command, sizeof command, "rm -rf '%s' '%s'", upper, work);
    if (system(command))
        errx(1, "%s", command);
    must(mkdir(upper, 0755), upper);
    must(mkdir(work, 0755), work);
}

int main(int count, char **arguments)
{
    struct timespec from, to;
    char kind;
    if (count != 3)
        errx(2, "usage: floor LOWER SCRATCH");
    place(arguments[2]);
    snprintf(overlay, sizeof overlay, "lowerdir=%s,upperdir=%s,workdir=%s", arguments[1], upper, work);
    while (read(0, &kind, 1) == 1) {
        refresh();
        clock_gettime(CLOCK_MONOTONIC, &from);
        run(kind == 'n');
        clock_gettime(CLOCK_MONOTONIC, &to);
        printf("%lld\n", (to.tv_sec - from.tv_sec) * 1000000000LL + to.tv_nsec - from.tv_nsec);
        fflush(stdout);
    }
    return 0;
}
