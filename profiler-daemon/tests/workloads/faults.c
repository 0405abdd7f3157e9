// What faults are tried on: one kind of work a run, which says what it saw of it.
//
//   faults read PATH COUNT       reads blocks of 4 KiB past the page cache
//   faults echo COUNT            sends a byte to and fro over TCP on the loopback
//   faults spin THREADS MS       burns CPU in threads named spin
//   faults forks MS              children that end at once, one after the other
//   faults eat MIB               takes memory, a MiB every 5 ms
//
// Prints `TRUTH tid=… …` with the times that it measured itself. `eat` prints its first line before it begins.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK 4096

static long now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long tid(void) { return syscall(SYS_gettid); }

static int reads(const char *path, int count) {
	int file = open(path, O_RDONLY | O_DIRECT);
	void *block;
	if (file < 0 || posix_memalign(&block, BLOCK, BLOCK)) {
		perror(path);
		return 1;
	}
	long waited = 0;
	int errors = 0;
	for (int i = 0; i < count; i++) {
		long start = now(CLOCK_MONOTONIC);
		errors += pread(file, block, BLOCK, (long)i * BLOCK) != BLOCK;
		waited += now(CLOCK_MONOTONIC) - start;
	}
	printf("TRUTH tid=%ld reads=%d errors=%d waited_ns=%ld\n", tid(), count, errors, waited);
	return 0;
}

static void *answer(void *listener) {
	prctl(PR_SET_NAME, "echo-server");
	int peer = accept((int)(long)listener, NULL, NULL), on = 1;
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	char byte;
	while (recv(peer, &byte, 1, 0) == 1 && send(peer, &byte, 1, 0) == 1)
		;
	close(peer);
	return NULL;
}

static int echo(int count) {
	struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t size = sizeof address;
	int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
	if (bind(listener, (void *)&address, size) || listen(listener, 1) ||
	    getsockname(listener, (void *)&address, &size))
		abort();
	pthread_t server;
	pthread_create(&server, NULL, answer, (void *)(long)listener);
	int peer = socket(AF_INET, SOCK_STREAM, 0);
	if (connect(peer, (void *)&address, size))
		abort();
	setsockopt(peer, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
	long waited = 0;
	for (int i = 0; i < count; i++) {
		char byte = 1;
		if (send(peer, &byte, 1, 0) != 1)
			abort();
		long start = now(CLOCK_MONOTONIC);
		if (recv(peer, &byte, 1, 0) != 1)
			abort();
		waited += now(CLOCK_MONOTONIC) - start;
	}
	close(peer);
	pthread_join(server, NULL);
	printf("TRUTH tid=%ld waits=%d waited_ns=%ld\n", tid(), count, waited);
	return 0;
}

static long deadline;

static void *spin(void *unused) {
	(void)unused;
	prctl(PR_SET_NAME, "spin");
	long start = now(CLOCK_MONOTONIC);
	while (now(CLOCK_MONOTONIC) < deadline)
		;
	printf("TRUTH tid=%ld cpu_ns=%ld wall_ns=%ld\n", tid(), now(CLOCK_THREAD_CPUTIME_ID),
	       now(CLOCK_MONOTONIC) - start);
	return NULL;
}

static int spins(int threads, int ms) {
	pthread_t handles[64];
	deadline = now(CLOCK_MONOTONIC) + ms * 1000000L;
	for (int i = 0; i < threads && i < 64; i++)
		pthread_create(&handles[i], NULL, spin, NULL);
	for (int i = 0; i < threads && i < 64; i++)
		pthread_join(handles[i], NULL);
	return 0;
}

static int forks(int ms) {
	long start = now(CLOCK_MONOTONIC);
	int count = 0;
	for (; now(CLOCK_MONOTONIC) < start + ms * 1000000L; count++) {
		pid_t child = fork();
		if (child == 0)
			_exit(0);
		if (child < 0 || waitpid(child, NULL, 0) != child)
			abort();
	}
	printf("TRUTH tid=%ld forks=%d wall_ns=%ld\n", tid(), count, now(CLOCK_MONOTONIC) - start);
	return 0;
}

static int eat(int mib) {
	printf("eating\n");
	fflush(stdout);
	for (int i = 0; i < mib; i++) {
		struct timespec pause = {0, 5000000};
		nanosleep(&pause, NULL);
		char *taken = malloc(1 << 20);
		if (!taken)
			return 1;
		memset(taken, i + 1, 1 << 20);
	}
	return 0;
}

int main(int count, char **arguments) {
	const char *work = count > 1 ? arguments[1] : "";
	const char *first = count > 2 ? arguments[2] : "0", *second = count > 3 ? arguments[3] : "0";
	if (!strcmp(work, "read"))
		return reads(first, atoi(second));
	if (!strcmp(work, "echo"))
		return echo(atoi(first));
	if (!strcmp(work, "spin"))
		return spins(atoi(first), atoi(second));
	if (!strcmp(work, "forks"))
		return forks(atoi(first));
	if (!strcmp(work, "eat"))
		return eat(atoi(first));
	return 2;
}
