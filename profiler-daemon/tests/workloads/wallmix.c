// Six threads whose wall time has known shares. Usage: wallmix [SECONDS]
//
//   mx-spin          on-CPU is its CPU clock, never blocked, the rest is run-queue wait
//   mx-sleep         20 ms sleep, 5 ms CPU: blocked in sleep alone
//   mx-hold          holds the mutex for 10 ms while it sleeps, sleeps 10 ms without: sleep alone
//   mx-lock          waits for that mutex: lock/futex, as long as it measured itself
//   mx-starve0, 1    two spinners on CPU 0: each gets half of it at most, never blocked
//
// Each prints, as the last thing it does, `TRUTH name=… tid=… cpu_ns=… run_queue_ns=… waited_ns=…`:
// its CPU clock and the kernel's own run-queue wait since its birth, and the time inside the calls
// that block (with the wait for a CPU after them).
#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static double seconds = 4;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static long now(clockid_t clock) {
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static void spin_ms(long ms) {
	long end = now(CLOCK_THREAD_CPUTIME_ID) + ms * 1000000;
	while (now(CLOCK_THREAD_CPUTIME_ID) < end)
		for (volatile int i = 0; i < 5000; i++)
			;
}

static long nap_ms(long ms) {
	long start = now(CLOCK_MONOTONIC);
	struct timespec t = {0, ms * 1000000};
	nanosleep(&t, NULL);
	return now(CLOCK_MONOTONIC) - start;
}

static long lock(void) {
	long start = now(CLOCK_MONOTONIC);
	pthread_mutex_lock(&mutex);
	return now(CLOCK_MONOTONIC) - start;
}

static void pin_to_cpu_0(void) {
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(0, &set);
	sched_setaffinity(0, sizeof set, &set);
}

static void *body(void *argument) {
	const char *name = argument;
	prctl(PR_SET_NAME, name);
	if (strncmp(name, "mx-starve", 9) == 0)
		pin_to_cpu_0();
	long end = now(CLOCK_MONOTONIC) + (long)(seconds * 1e9), waited = 0;
	while (now(CLOCK_MONOTONIC) < end) {
		if (strcmp(name, "mx-sleep") == 0) {
			waited += nap_ms(20);
			spin_ms(5);
		} else if (strcmp(name, "mx-hold") == 0) {
			pthread_mutex_lock(&mutex);
			waited += nap_ms(10);
			pthread_mutex_unlock(&mutex);
			waited += nap_ms(10);
		} else if (strcmp(name, "mx-lock") == 0) {
			waited += lock();
			pthread_mutex_unlock(&mutex);
			spin_ms(1);
		} else {
			spin_ms(10);
		}
	}
	long run_ns = 0, run_queue_ns = 0;
	FILE *file = fopen("/proc/thread-self/schedstat", "r");
	if (!file || fscanf(file, "%ld %ld", &run_ns, &run_queue_ns) != 2)
		abort();
	fclose(file);
	char line[200];
	int length = snprintf(line, sizeof line, "TRUTH name=%s tid=%ld cpu_ns=%ld run_queue_ns=%ld waited_ns=%ld\n", name,
	                      syscall(SYS_gettid), now(CLOCK_THREAD_CPUTIME_ID), run_queue_ns, waited);
	if (write(1, line, length) != length)
		abort();
	return NULL;
}

int main(int count, char **arguments) {
	if (count > 1)
		seconds = atof(arguments[1]);
	const char *names[] = {"mx-spin", "mx-sleep", "mx-hold", "mx-lock", "mx-starve0", "mx-starve1"};
	pthread_t threads[6];
	for (int i = 0; i < 6; i++)
		pthread_create(&threads[i], NULL, body, (void *)names[i]);
	for (int i = 0; i < 6; i++)
		pthread_join(threads[i], NULL);
	return 0;
}
