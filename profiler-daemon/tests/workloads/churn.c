// Short-lived threads and processes, none of which may be lost. Usage: churn [THREADS] [PROCESSES]
//
// Threads are named ch-t and sleep 1 ms or more each; child processes use 1 ms of CPU or more each.
// Prints `TRUTH threads=… sleep_ns=… processes=… cpu_ns=…`: the sleep as the threads measured it,
// the CPU time of the children as the kernel charged it.
#define _GNU_SOURCE
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define AT_ONCE 64

static long slept;

static long now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void *body(void *unused) {
	(void)unused;
	prctl(PR_SET_NAME, "ch-t");
	long start = now(CLOCK_MONOTONIC);
	struct timespec t = {0, 1000000};
	nanosleep(&t, NULL);
	__atomic_add_fetch(&slept, now(CLOCK_MONOTONIC) - start, __ATOMIC_RELAXED);
	return NULL;
}

static void child(void) {
	long end = now(CLOCK_PROCESS_CPUTIME_ID) + 1000000;
	while (now(CLOCK_PROCESS_CPUTIME_ID) < end)
		;
	_exit(0);
}

static long ns(struct timeval t) { return t.tv_sec * 1000000000L + t.tv_usec * 1000L; }

int main(int count, char **arguments) {
	int threads = count > 1 ? atoi(arguments[1]) : 2000, processes = count > 2 ? atoi(arguments[2]) : 200;
	for (int left = threads; left > 0; left -= AT_ONCE) {
		pthread_t handles[AT_ONCE];
		int batch = left < AT_ONCE ? left : AT_ONCE;
		for (int i = 0; i < batch; i++)
			if (pthread_create(&handles[i], NULL, body, NULL))
				abort();
		for (int i = 0; i < batch; i++)
			pthread_join(handles[i], NULL);
	}
	for (int i = 0; i < processes; i++) {
		if (fork() == 0)
			child();
		wait(NULL);
	}
	struct rusage usage;
	getrusage(RUSAGE_CHILDREN, &usage);
	printf("TRUTH threads=%d sleep_ns=%ld processes=%d cpu_ns=%ld\n", threads, slept, processes,
	       ns(usage.ru_utime) + ns(usage.ru_stime));
	return 0;
}
