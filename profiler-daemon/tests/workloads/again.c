// Two programs that bear the same pid, one after the other, with their code at the same addresses.
//
//     again FIRST SECOND
//
// runs each with the argument 1 and prints `TRUTH pid=…`. Needs the right to choose a pid, which root has.
#define _GNU_SOURCE
#include <linux/sched.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/personality.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

// Runs it to its end as this pid, or as any if it is 0.
static pid_t run(const char *program, pid_t as)
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
		execl(program, program, "1", (char *)NULL);
		_exit(127);
	}
	int status;
	if (waitpid(pid, &status, 0) != pid || status != 0)
		_exit(1);
	return pid;
}

int main(int argc, char **argv)
{
	if (argc != 3 || personality(ADDR_NO_RANDOMIZE) < 0)
		return 2;
	pid_t pid = run(argv[1], 0);
	if (run(argv[2], pid) != pid)
		return 1;
	printf("TRUTH pid=%d\n", pid);
}
