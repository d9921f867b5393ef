// A tender that turns against the host: it says that it is ready and does what its image would have
// it do. It is run as a machine's process, in the jail, without what a real tender adds to that.
//
//   hostile run @IMAGE --mem MIB --status @N --new-session [--kvm=@N] [--net=NAME=@N --net-mac=...
//       --net-mtu=...] [--require-jail] -- WHAT [ARGUMENT]
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <netinet/in.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <sys/ioctl.h>
#include <unistd.h>

// One line: what was tried, and "done" or why not.
static void tell(const char *what, long result) {
    printf("%s: %s\n", what, result == -1 ? strerror(errno) : "done");
}

static void list(const char *path) {
    DIR *directory = opendir(path);
    if (!directory) {
        printf("in /: %s cannot be listed\n", path);
        return;
    }
    for (struct dirent *entry; (entry = readdir(directory));) {
        char below[4096];
        if (!strcmp(entry->d_name, ".") || !strcmp(entry->d_name, ".."))
            continue;
        snprintf(below, sizeof below, "%s/%s", strcmp(path, "/") ? path : "", entry->d_name);
        if (entry->d_type == DT_DIR)
            list(below);
        else
            printf("in /: %s\n", below);
    }
    closedir(directory);
}

static int reach(int family, const char *abstract) {
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd == -1)
        return -1;
    if (family == AF_INET) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(1),
                                 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
        return connect(fd, (struct sockaddr *)&to, sizeof to);
    }
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    strncpy(to.sun_path + 1, abstract, sizeof to.sun_path - 2);
    return connect(fd, (struct sockaddr *)&to,
                   offsetof(struct sockaddr_un, sun_path) + 1 + strlen(abstract));
}

static void use_address_space(const char *what, size_t mib) {
    void *place = mmap(NULL, mib << 20, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    tell(what, place == MAP_FAILED ? -1 : munmap(place, mib << 20));
}

// One in memory: there is no other place for it.
static void lengthen_file(const char *what, off_t length) {
    signal(SIGXFSZ, SIG_IGN);
    int fd = memfd_create("file", 0);
    tell(what, fd == -1 ? -1 : ftruncate(fd, length));
    close(fd);
}

static void look(int other, const char *abstract) {
    list("/");
    printf("ids: %d %d %d %d\n", getuid(), geteuid(), getgid(), getegid());
    printf("groups: %d\n", getgroups(0, NULL));
    printf("process: %d, its parent: %d\n", getpid(), getppid());
    char name[256] = "";
    gethostname(name, sizeof name - 1);
    printf("host: %s\n", name);
    long held = 0;
    for (int capability = 0; prctl(PR_CAPBSET_READ, capability) >= 0; capability++)
        held += prctl(PR_CAPBSET_READ, capability);
    printf("capabilities: %ld\n", held);
    printf("no new privileges: %d\n", prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0));
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    printf("descriptors: %ld\n", (long)files.rlim_max);
    // A machine of 32 MiB, which is there already.
    use_address_space("a part of the address space", 240);
    use_address_space("all of the address space", 288);
    lengthen_file("a file of 128 KiB", 128 << 10);
    lengthen_file("a file of a byte more", (128 << 10) + 1);
    tell("open a file", open("/etc/passwd", O_RDONLY));
    tell("make a file", open("/escaped", O_CREAT | O_WRONLY, 0600));
    tell("see processes", open("/proc", O_RDONLY));
    tell("mount", mount("none", "/", "tmpfs", 0, NULL));
    tell("change root", chroot("/"));
    tell("become root", setuid(0));
    tell("signal another", kill(other, 0));
    tell("signal all", kill(-1, 0));
    tell("trace another", ptrace(PTRACE_SEIZE, other, 0, 0));
    tell("reach the loopback interface", reach(AF_INET, NULL));
    tell("reach an abstract socket", reach(AF_UNIX, abstract));
    tell("set the host's name", sethostname("x", 1));
}

static void leave_cpus(void) {
    cpu_set_t all;
    CPU_ZERO(&all);
    for (int cpu = 1; cpu < 1024; cpu++)
        CPU_SET(cpu, &all);
    tell("leave its CPUs", sched_setaffinity(0, sizeof all, &all));
    sched_getaffinity(0, sizeof all, &all);
    printf("CPUs: %d, the first: %s\n", CPU_COUNT(&all), CPU_ISSET(0, &all) ? "yes" : "no");
}

static void multiply(void) {
    int processes = 1;
    while (processes < 10000) {
        pid_t child = fork();
        if (child == -1)
            break;
        if (child == 0) {
            for (;;)
                pause();
        }
        processes++;
    }
    printf("processes: %d, then: %s\n", processes, strerror(errno));
}

static void eat(void) {
    for (;;) {
        char *more = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (more == MAP_FAILED) {
            printf("no more memory: %s\n", strerror(errno));
            fflush(stdout);
            exit(3);
        }
        memset(more, 1, 1 << 20);
    }
}

// What can be done to a tap by its descriptor.
static void keep_tap(int tap) {
    struct ifreq request = {0};
    tell("ask for the tap's name", ioctl(tap, TUNGETIFF, &request));
    tell("have the tap outlive this", ioctl(tap, TUNSETPERSIST, 1));
    struct ifreq address = {.ifr_hwaddr = {.sa_family = 1, .sa_data = {2, 6, 6, 6, 6, 6}}};
    tell("change the tap's address", ioctl(tap, SIOCSIFHWADDR, &address));
    tell("enter the tap's network", ioctl(tap, 0x894C /* SIOCGSKNS */, 0));
    struct ifreq other = {.ifr_flags = IFF_TAP | IFF_NO_PI, .ifr_name = "more"};
    int fd = open("/dev/net/tun", O_RDWR);
    tell("make another tap", fd == -1 ? -1 : ioctl(fd, TUNSETIFF, &other));
    printf("tap: %s\n", request.ifr_name);
}

int main(int count, char **words) {
    int status = atoi(words[6] + 1), next = 8;
    setvbuf(stdout, NULL, _IOLBF, 0);
    if (!strncmp(words[next], "--kvm=", 6))
        next++;
    int tap = -1;
    for (; !strncmp(words[next], "--net", 5); next++)
        if (!strncmp(words[next], "--net=", 6))
            tap = atoi(strchr(words[next], '@') + 1);
    int required = !strcmp(words[next], "--require-jail");
    next += required;
    const char *what = words[next + 1];
    if (write(status, "ready\n", 6) != 6)
        return 99;
    close(status);
    if (!strcmp(what, "required"))
        printf("all of the jail: %s\n", required ? "required" : "as far as it goes");
    else if (!strcmp(what, "look"))
        look(atoi(words[next + 2]), words[next + 3]);
    else if (!strcmp(what, "leave-cpus"))
        leave_cpus();
    else if (!strcmp(what, "multiply"))
        multiply();
    else if (!strcmp(what, "keep-tap"))
        keep_tap(tap);
    else if (!strcmp(what, "eat"))
        eat();
    else
        for (;;)
            pause();
    return 0;
}
