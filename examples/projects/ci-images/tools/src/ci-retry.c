/* ci-retry TRIES COMMAND...: runs a command until it succeeds, at most TRIES times, with a pause
 * between the tries that doubles from one second. Exits with the status of the last try. */

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static int run(char **command)
{
	int status;
	pid_t child = fork();

	if (child < 0) {
		perror("ci-retry: fork");
		return 125;
	}
	if (child == 0) {
		execvp(command[0], command);
		fprintf(stderr, "ci-retry: %s: %s\n", command[0], strerror(errno));
		_exit(errno == ENOENT ? 127 : 126);
	}
	while (waitpid(child, &status, 0) < 0) {
		if (errno != EINTR) {
			perror("ci-retry: waitpid");
			return 125;
		}
	}
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int main(int argc, char **argv)
{
	int tries = argc > 2 ? atoi(argv[1]) : 0;
	unsigned int pause = 1;

	if (tries < 1) {
		fprintf(stderr, "usage: ci-retry TRIES COMMAND...\n");
		return 125;
	}
	for (int i = 1;; i++) {
		int status = run(argv + 2);

		if (status == 0 || i == tries)
			return status;
		fprintf(stderr, "ci-retry: try %d of %d: status %d\n", i, tries, status);
		sleep(pause);
		pause *= 2;
	}
}
