// What a service watches all day, with the right answer in what it prints.
//
//     served threads SECONDS   five threads that are what they are for so long
//     served brief MS          burns CPU time for so long and ends: a process that no window sees twice
//     served exec MS           burns so much in `before_exec`, becomes another program, and burns it in `after_exec`
//     served again MS          two processes with one pid, one after the other: `first_life`, `second_life`
//     served crowd N M         N processes of M threads that sleep; prints `TRUTH processes=… threads=…` when all are there
//
// The threads are sv-burn, sv-sleep (one long sleep) and sv-convoy0..2, which queue for a lock that each holds for
// 5 ms. Each prints, as the last thing it does, `TRUTH name=… tid=… wall_ns=… cpu_ns=… waited_ns=…`.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define KEEP __attribute__((noinline, noclone))

static double seconds;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static long now(clockid_t clock)
{
	struct timespec t;
	clock_gettime(clock, &t);
	return t.tv_sec * 1000000000L + t.tv_nsec;
}

static long nap_ns(long ns)
{
	struct timespec t = { ns / 1000000000L, ns % 1000000000L };
	long start = now(CLOCK_MONOTONIC);
	nanosleep(&t, NULL);
	return now(CLOCK_MONOTONIC) - start;
}

// Inlined: the caller is who burns.
static inline __attribute__((always_inline)) void burn_until(long cpu_ns)
{
	while (now(CLOCK_THREAD_CPUTIME_ID) < cpu_ns)
		for (volatile int i = 0; i < 5000; i++)
			;
}

// The comment in the assembly keeps the compiler from making one function of those that are alike.
#define BURNER(name)                                                \
	KEEP static void name(long ns)                              \
	{                                                           \
		burn_until(now(CLOCK_THREAD_CPUTIME_ID) + ns);      \
		__asm__ volatile("# " #name ::: "memory");          \
	}

BURNER(burn_all_day)
BURNER(brief_work)
BURNER(before_exec)
BURNER(after_exec)
BURNER(first_life)
BURNER(second_life)

KEEP static long sleep_all_day(void)
{
	long waited = nap_ns((long)(seconds * 1e9) - 500000000);
	__asm__ volatile("" ::: "memory");
	return waited;
}

KEEP static long take_the_lock(void)
{
	long start = now(CLOCK_MONOTONIC);
	pthread_mutex_lock(&mutex);
	return now(CLOCK_MONOTONIC) - start;
}

KEEP static void hold_the_lock(void)
{
	nap_ns(5000000);
	__asm__ volatile("" ::: "memory");
}

static void *body(void *argument)
{
	const char *name = argument;
	prctl(PR_SET_NAME, name);
	long birth = now(CLOCK_MONOTONIC), end = birth + (long)(seconds * 1e9), waited = 0;
	while (now(CLOCK_MONOTONIC) < end) {
		if (strcmp(name, "sv-burn") == 0) {
			burn_all_day(10000000);
		} else if (strcmp(name, "sv-sleep") == 0) {
			// A wait has the stack that it began with: not before this program is known.
			waited += nap_ns(500000000);
			waited += sleep_all_day();
		} else {
			waited += take_the_lock();
			hold_the_lock();
			pthread_mutex_unlock(&mutex);
		}
	}
	char line[200];
	int length = snprintf(line, sizeof line, "TRUTH name=%s tid=%ld wall_ns=%ld cpu_ns=%ld waited_ns=%ld\n", name,
			      syscall(SYS_gettid), now(CLOCK_MONOTONIC) - birth, now(CLOCK_THREAD_CPUTIME_ID), waited);
	if (write(1, line, length) != length)
		abort();
	return NULL;
}

static void run_threads(void)
{
	const char *names[] = { "sv-burn", "sv-sleep", "sv-convoy0", "sv-convoy1", "sv-convoy2" };
	pthread_t threads[5];
	for (int i = 0; i < 5; i++)
		pthread_create(&threads[i], NULL, body, (void *)names[i]);
	for (int i = 0; i < 5; i++)
		pthread_join(threads[i], NULL);
}

// Runs a child as this pid, or as any if it is 0.
static pid_t live(pid_t as, const char *name, void (*life)(long), long ns)
{
	struct clone_args how = { .exit_signal = SIGCHLD };
	if (as) {
		how.set_tid = (uintptr_t)&as;
		how.set_tid_size = 1;
	}
	pid_t pid = syscall(SYS_clone3, &how, sizeof how);
	if (pid < 0) {
		perror("clone3");
		_exit(1);
	}
	if (pid == 0) {
		prctl(PR_SET_NAME, name);
		life(ns);
		_exit(0);
	}
	waitpid(pid, NULL, 0);
	return pid;
}

static void *rest(void *unused)
{
	for (;;)
		nap_ns(3600L * 1000000000L);
	return unused;
}

static void crowd(int processes, int threads)
{
	int ready[2];
	if (pipe(ready) < 0)
		exit(1);
	for (int i = 0; i < processes; i++) {
		if (fork() == 0) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			prctl(PR_SET_NAME, "sv-crowd");
			pthread_attr_t small;
			pthread_attr_init(&small);
			pthread_attr_setstacksize(&small, 65536);
			pthread_t thread;
			for (int j = 1; j < threads; j++)
				if (pthread_create(&thread, &small, rest, NULL) != 0)
					exit(1);
			if (write(ready[1], "", 1) != 1)
				exit(1);
			rest(NULL);
		}
	}
	char one;
	for (int i = 0; i < processes; i++)
		if (read(ready[0], &one, 1) != 1)
			exit(1);
	printf("TRUTH processes=%d threads=%d\n", processes, processes * threads);
	fflush(stdout);
	rest(NULL);
}

int main(int count, char **arguments)
{
	if (count < 3)
		return 2;
	const char *what = arguments[1];
	long ns = atol(arguments[2]) * 1000000;
	if (strcmp(what, "threads") == 0) {
		seconds = atof(arguments[2]);
		run_threads();
	} else if (strcmp(what, "brief") == 0) {
		prctl(PR_SET_NAME, "sv-brief");
		brief_work(ns);
	} else if (strcmp(what, "exec") == 0) {
		before_exec(ns);
		execl("/proc/self/exe", arguments[0], "after", arguments[2], (char *)NULL);
		return 1;
	} else if (strcmp(what, "after") == 0) {
		after_exec(ns);
	} else if (strcmp(what, "again") == 0) {
		pid_t pid = live(0, "sv-first", first_life, ns);
		if (live(pid, "sv-second", second_life, ns) != pid)
			return 1;
		printf("TRUTH pid=%d\n", pid);
	} else if (strcmp(what, "crowd") == 0 && count == 4) {
		crowd(atoi(arguments[2]), atoi(arguments[3]));
	}
	return 0;
}
