/*
 * launch N PROGRAM ARGUMENTS…: runs a program N times, one after another, with nothing to read and its output dropped.
 *
 * Prints "wall=MS rss=KB": medians of the time from the start to the end of the process, and of its largest resident
 * memory. Fails when a run does.
 */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double milliseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec * 1e3 + (double)t.tv_nsec * 1e-6;
}

static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}

static void run(char **command, double *wall, double *resident) {
  int status;
  struct rusage usage;
  double begun = milliseconds();
  pid_t pid = fork();
  if (pid == 0) {
    int null = open("/dev/null", O_RDWR);
    dup2(null, STDIN_FILENO);
    dup2(null, STDOUT_FILENO);
    execvp(command[0], command);
    _exit(127);
  }
  if (pid < 0 || wait4(pid, &status, 0, &usage) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 0) {
    fprintf(stderr, "launch: %s failed\n", command[0]);
    exit(1);
  }
  *wall = milliseconds() - begun;
  *resident = (double)usage.ru_maxrss;
}

int main(int argc, char **argv) {
  int n = argc > 2 ? atoi(argv[1]) : 0;
  if (n < 1) {
    fprintf(stderr, "usage: launch N PROGRAM ARGUMENTS\n");
    return 2;
  }
  double *wall = calloc((size_t)n, sizeof *wall), *resident = calloc((size_t)n, sizeof *resident);
  if (wall == NULL || resident == NULL) return 1;
  for (int i = 0; i < n; i++) run(argv + 2, &wall[i], &resident[i]);
  qsort(wall, (size_t)n, sizeof *wall, by_value);
  qsort(resident, (size_t)n, sizeof *resident, by_value);
  printf("wall=%.2f rss=%.0f\n", wall[n / 2], resident[n / 2]);
  free(wall);
  free(resident);
  return 0;
}
