// Twenty threads, each of which waits for one reason. Usage: waits SECONDS FOLDER
//
// FOLDER must be on a disk (O_DIRECT, fsync); some 96 MiB are written there and removed. Each thread
// prints, as the last thing it does, `TRUTH name=… tid=… class=… waited_ns=… calls=…`. The time is
// measured around the call that waits, wall minus CPU: blocked, and all waiting for a CPU inside.
//
// w-futex, w-dread, w-fsync, w-bread and w-fault also sleep 1 ms a round, which is not in it.
// h-tick and h-hold keep them going.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define PIECE 65536
#define PIECES 512

static const char *folder;
static long end;
static char piece[PIECE];

static int unix_send[2], unix_recv[2], unix_read[2], pipe_read[2], pipe_write[2], event;
static int tcp_send, tcp_send_peer, tcp_recv, tcp_recv_peer, listener;
static struct sockaddr_in listener_address;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER, signal_mutex = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t signalled = PTHREAD_COND_INITIALIZER;

static long clock_ns(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long now(void) { return clock_ns(CLOCK_MONOTONIC); }
static long off_cpu(void) { return now() - clock_ns(CLOCK_THREAD_CPUTIME_ID); }

static void nap(long ms) {
	struct timespec t = {0, ms * 1000000};
	nanosleep(&t, NULL);
}

static void must(int holds, const char *what) {
	if (!holds) {
		perror(what);
		exit(1);
	}
}

static void report(const char *name, const char *class, long waited, long calls) {
	char line[200];
	int length = snprintf(line, sizeof line, "TRUTH name=%s tid=%ld class=%s waited_ns=%ld calls=%ld\n", name,
	                      syscall(SYS_gettid), class, waited, calls);
	must(write(1, line, length) == length, "write");
}

static int scratch(const char *name, int flags) {
	char path[4096];
	snprintf(path, sizeof path, "%s/%s", folder, name);
	int file = open(path, O_RDWR | O_CREAT | flags, 0600);
	must(file >= 0, path);
	unlink(path);
	return file;
}

static int scratch_of_pieces(const char *name) {
	int file = scratch(name, 0);
	for (int i = 0; i < PIECES; i++)
		must(write(file, piece, PIECE) == PIECE, name);
	fsync(file);
	return file;
}

// Far apart, so that reading ahead does not help.
static long piece_offset(int i) { return (long)(i * 97 % PIECES) * PIECE; }

// A thread's body: `prepare` once, then `round` until the end, and once at least: where files are slow to write, they are not
// there before it.
#define THREAD(name, class, prepare, round)                                                                            \
	static void *body_##name(void *unused) {                                                                           \
		(void)unused;                                                                                                  \
		prctl(PR_SET_NAME, "w-" #name);                                                                                \
		long waited = 0, calls = 0;                                                                                    \
		prepare;                                                                                                       \
		do {                                                                                                           \
			round;                                                                                                     \
		} while (now() < end);                                                                                         \
		report("w-" #name, class, waited, calls);                                                                      \
		return NULL;                                                                                                   \
	}
// The call that waits.
#define TIMED(call)                                                                                                    \
	do {                                                                                                               \
		long before = off_cpu();                                                                                       \
		call;                                                                                                          \
		waited += off_cpu() - before;                                                                                  \
		calls++;                                                                                                       \
	} while (0)

THREAD(usend, "socket-send", , TIMED(if (send(unix_send[0], piece, PIECE, MSG_NOSIGNAL) < 0) break))
THREAD(tsend, "socket-send", , TIMED(if (send(tcp_send, piece, PIECE, MSG_NOSIGNAL) < 0) break))
THREAD(urecv, "socket-recv", char to[8], TIMED(if (recv(unix_recv[0], to, 8, 0) < 0) break))
THREAD(trecv, "socket-recv", char to[8], TIMED(if (recv(tcp_recv, to, 8, 0) < 0) break))
// The kind of the file decides, not the call.
THREAD(read, "socket-recv", char to[8], TIMED(if (read(unix_read[0], to, 8) < 0) break))
THREAD(accept, "socket-accept", int peer, TIMED(peer = accept(listener, NULL, NULL)); close(peer))
THREAD(futex, "lock/futex", , TIMED(pthread_mutex_lock(&mutex)); pthread_mutex_unlock(&mutex); nap(1))
THREAD(cond, "lock/futex", , pthread_mutex_lock(&signal_mutex); TIMED(pthread_cond_wait(&signalled, &signal_mutex));
       pthread_mutex_unlock(&signal_mutex))
THREAD(sleep, "sleep", , TIMED(nap(10)))
THREAD(epoll, "poll-idle", int queue = epoll_create1(0); struct epoll_event ready, TIMED(epoll_wait(queue, &ready, 1, 20)))
THREAD(poll, "poll-idle", , TIMED(poll(NULL, 0, 20)))
THREAD(select, "poll-idle", , struct timeval t = {0}; t.tv_usec = 20000; TIMED(select(0, NULL, NULL, NULL, &t)))
THREAD(piper, "pipe", char to[8], TIMED(if (read(pipe_read[0], to, 8) < 0) break))
THREAD(pipew, "pipe", , TIMED(if (write(pipe_write[1], piece, PIECE) < 0) break))
THREAD(evfd, "other", long long to, TIMED(if (read(event, &to, 8) < 0) break))
// To make a child waits as well, for the faults of all other threads, and has the same class.
THREAD(wait, "wait-child", ,
       TIMED(pid_t child = fork(); if (child == 0) { nap(10); _exit(0); } waitpid(child, NULL, 0)))
THREAD(dread, "disk-io", int file = scratch("direct", O_DIRECT); char *block = aligned_alloc(4096, 1 << 20);
       memset(block, 1, 1 << 20);
       for (int i = 0; i < 32; i++) must(pwrite(file, block, 1 << 20, (long)i << 20) == 1 << 20, "direct"),
       TIMED(if (pread(file, block, 1 << 20, (calls % 32) << 20) < 0) break); nap(1))
THREAD(fsync, "disk-io", int file = scratch("synced", 0), must(pwrite(file, piece, 4096, 0) == 4096, "synced");
       TIMED(fsync(file)); nap(1))
THREAD(bread, "disk-io", int file = scratch_of_pieces("buffered"); char to[4096], posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED);
       for (int i = 0; i < 64; i++) TIMED(if (pread(file, to, 4096, piece_offset(i)) < 0) break); nap(1))
THREAD(fault, "page-fault", int file = scratch_of_pieces("mapped");
       volatile char *mapped = mmap(NULL, PIECES * PIECE, PROT_READ, MAP_SHARED, file, 0); char sum = 0,
       posix_fadvise(file, 0, 0, POSIX_FADV_DONTNEED); madvise((void *)mapped, PIECES * PIECE, MADV_RANDOM);
       for (int i = 0; i < 64; i++) TIMED(sum += mapped[piece_offset(i)]);
       madvise((void *)mapped, PIECES * PIECE, MADV_DONTNEED); nap(1))

static void *(*const bodies[])(void *) = {
    body_usend, body_tsend, body_urecv, body_trecv,  body_read,  body_accept, body_futex, body_cond,  body_sleep, body_epoll,
    body_poll,  body_select, body_piper, body_pipew, body_evfd, body_wait,   body_dread, body_fsync, body_bread, body_fault};
#define THREADS (sizeof bodies / sizeof *bodies)

static void connect_and_close(void) {
	int peer = socket(AF_INET, SOCK_STREAM, 0);
	connect(peer, (void *)&listener_address, sizeof listener_address);
	close(peer);
}

static void *tick(void *unused) {
	prctl(PR_SET_NAME, "h-tick");
	static char to[PIECE];
	long long one = 1;
	for (;;) {
		nap(10);
		if (write(unix_recv[1], to, 1) < 0 || write(tcp_recv_peer, to, 1) < 0 || write(unix_read[1], to, 1) < 0 ||
		    write(pipe_read[1], to, 1) < 0 || write(event, &one, 8) < 0)
			return unused;
		recv(unix_send[1], to, PIECE, MSG_DONTWAIT);
		recv(tcp_send_peer, to, PIECE, MSG_DONTWAIT);
		if (read(pipe_write[0], to, PIECE) == 0)
			return unused;
		pthread_mutex_lock(&signal_mutex);
		pthread_cond_broadcast(&signalled);
		pthread_mutex_unlock(&signal_mutex);
		connect_and_close();
	}
}

static void *hold(void *unused) {
	prctl(PR_SET_NAME, "h-hold");
	for (;;) {
		pthread_mutex_lock(&mutex);
		nap(10);
		pthread_mutex_unlock(&mutex);
		nap(1);
	}
	return unused;
}

static int listen_on_loopback(struct sockaddr_in *address, int buffer) {
	int socket_ = socket(AF_INET, SOCK_STREAM, 0);
	*address = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof *address;
	if (buffer)
		setsockopt(socket_, SOL_SOCKET, SO_RCVBUF, &buffer, sizeof buffer);
	must(bind(socket_, (void *)address, size) == 0 && listen(socket_, 64) == 0, "listen");
	getsockname(socket_, (void *)address, &size);
	return socket_;
}

static void tcp_pair(int *one, int *other) {
	struct sockaddr_in address;
	int buffer = PIECE, server = listen_on_loopback(&address, buffer);
	*one = socket(AF_INET, SOCK_STREAM, 0);
	setsockopt(*one, SOL_SOCKET, SO_SNDBUF, &buffer, sizeof buffer);
	must(connect(*one, (void *)&address, sizeof address) == 0, "connect");
	*other = accept(server, NULL, NULL);
	close(server);
}

int main(int count, char **arguments) {
	if (count != 3)
		return 2;
	folder = arguments[2];
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_send) == 0, "socketpair");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_recv) == 0, "socketpair");
	must(socketpair(AF_UNIX, SOCK_STREAM, 0, unix_read) == 0, "socketpair");
	must(pipe(pipe_read) == 0 && pipe(pipe_write) == 0, "pipe");
	fcntl(pipe_write[0], F_SETFL, O_NONBLOCK);
	event = eventfd(0, 0);
	tcp_pair(&tcp_send, &tcp_send_peer);
	tcp_pair(&tcp_recv_peer, &tcp_recv);
	listener = listen_on_loopback(&listener_address, 0);

	end = now() + (long)(atof(arguments[1]) * 1e9);
	pthread_t threads[THREADS], helper;
	pthread_create(&helper, NULL, tick, NULL);
	pthread_create(&helper, NULL, hold, NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_create(&threads[i], NULL, bodies[i], NULL);
	for (size_t i = 0; i < THREADS; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
