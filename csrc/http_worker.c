#include "http_worker.h"

#include <errno.h>
#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

#define WORKER_TYPE "wgtwo.http.worker"
enum { MOST_CONNECTIONS = 64, IDLE_WAIT_MS = 60000 };

struct HttpWorker {
  Loop *loop;
  CURLM *multi;
  pthread_t thread;
  HttpRequest *active; /* handed to curl, each owned by the list; worker thread */

  pthread_mutex_t lock;                    /* guards what follows */
  HttpRequest *submitted, **submitted_end; /* each owned by the list */
  int outstanding;                         /* submitted and active */
  bool cancels;                            /* one or more requests were cancelled since the thread looked */
  bool stopping;
};

static const char worker_key = 0;

/* Worker thread */

/* Gives the result to Lua and gives up the worker's ownership. */
static void finish(HttpWorker *worker, HttpRequest *request, CURLcode code) {
  curl_multi_remove_handle(worker->multi, request->easy);
  curl_easy_getinfo(request->easy, CURLINFO_RESPONSE_CODE, &request->status);
  curl_easy_getinfo(request->easy, CURLINFO_OS_ERRNO, &request->os_error);
  curl_easy_cleanup(request->easy);
  request->easy = NULL;
  request->code = code;
  pthread_mutex_lock(&worker->lock);
  worker->outstanding--;
  pthread_mutex_unlock(&worker->lock);
  atomic_store(&request->finished, true);
  op_ready(&request->op);
  op_release(&request->op);
}

static void unlink_active(HttpWorker *worker, const HttpRequest *request) {
  HttpRequest **at = &worker->active;
  while (*at != request) at = &(*at)->next;
  *at = request->next;
}

static void start_submitted(HttpWorker *worker, HttpRequest *list) {
  while (list != NULL) {
    HttpRequest *request = list;
    list = request->next;
    CURLMcode code = curl_multi_add_handle(worker->multi, request->easy);
    if (code == CURLM_OK) {
      request->next = worker->active;
      worker->active = request;
    } else {
      finish(worker, request, CURLE_OUT_OF_MEMORY);
    }
  }
}

static void drop_active(HttpWorker *worker, bool all) {
  for (HttpRequest **at = &worker->active; *at != NULL;) {
    HttpRequest *request = *at;
    if (all || atomic_load(&request->cancelled)) {
      *at = request->next;
      finish(worker, request, CURLE_ABORTED_BY_CALLBACK);
    } else {
      at = &request->next;
    }
  }
}

static void finish_done(HttpWorker *worker) {
  int left;
  for (CURLMsg *message; (message = curl_multi_info_read(worker->multi, &left)) != NULL;) {
    if (message->msg != CURLMSG_DONE) continue;
    CURLcode code = message->data.result; /* gone once the handle is removed */
    char *request = NULL;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &request);
    unlink_active(worker, (HttpRequest *)(void *)request);
    finish(worker, (HttpRequest *)(void *)request, code);
  }
}

static void *run_worker(void *arg) {
  HttpWorker *worker = arg;
  for (;;) {
    pthread_mutex_lock(&worker->lock);
    HttpRequest *submitted = worker->submitted;
    bool cancels = worker->cancels, stopping = worker->stopping;
    worker->submitted = NULL;
    worker->submitted_end = &worker->submitted;
    worker->cancels = false;
    pthread_mutex_unlock(&worker->lock);

    start_submitted(worker, submitted);
    if (cancels || stopping) drop_active(worker, stopping);
    if (stopping) break;
    int running;
    curl_multi_perform(worker->multi, &running);
    finish_done(worker);
    curl_multi_poll(worker->multi, NULL, 0, IDLE_WAIT_MS, NULL);
  }
  curl_multi_cleanup(
      worker->multi); /* here, where signals are blocked: OpenSSL's good-bye to a closed socket raises SIGPIPE */
  return NULL;
}

/* Lua thread */

static void free_worker(HttpWorker *worker) {
  pthread_mutex_destroy(&worker->lock);
  free(worker);
}

static int close_worker(lua_State *L) {
  HttpWorker **box = luaL_checkudata(L, 1, WORKER_TYPE);
  HttpWorker *worker = *box;
  *box = NULL;
  if (worker == NULL || loop_is_foreign(worker->loop)) return 0;
  pthread_mutex_lock(&worker->lock);
  worker->stopping = true;
  curl_multi_wakeup(worker->multi); /* under the lock: the thread frees it once it has seen `stopping` */
  pthread_mutex_unlock(&worker->lock);
  pthread_join(worker->thread, NULL);
  free_worker(worker);
  return 0;
}

static void start_curl(void) { curl_global_init(CURL_GLOBAL_DEFAULT); }

/* NULL, with an errno, when there is no memory or no thread to be had. */
static HttpWorker *new_worker(Loop *loop, int *error) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, start_curl);
  *error = ENOMEM;
  HttpWorker *worker = calloc(1, sizeof *worker);
  if (worker == NULL) return NULL;
  worker->loop = loop;
  worker->submitted_end = &worker->submitted;
  pthread_mutex_init(&worker->lock, NULL);
  worker->multi = curl_multi_init();
  if (worker->multi != NULL) {
    curl_multi_setopt(worker->multi, CURLMOPT_MAX_TOTAL_CONNECTIONS, (long)MOST_CONNECTIONS);
    *error = loop_start_thread(loop, &worker->thread, run_worker, worker);
    if (*error == 0) return worker;
    curl_multi_cleanup(worker->multi);
  }
  free_worker(worker);
  return NULL;
}

HttpWorker *http_worker_get(lua_State *L) {
  Loop *loop = loop_get(L);
  if (lua_rawgetp(L, LUA_REGISTRYINDEX, &worker_key) == LUA_TNIL) {
    lua_pop(L, 1);
    HttpWorker **box = lua_newuserdatauv(L, sizeof *box, 0);
    *box = NULL;
    luaL_setmetatable(L, WORKER_TYPE);
    lua_pushvalue(L, -1);
    lua_rawsetp(L, LUA_REGISTRYINDEX, &worker_key);
    int error;
    *box = new_worker(loop, &error);
    if (*box == NULL) {
      lua_pushnil(L);
      lua_rawsetp(L, LUA_REGISTRYINDEX, &worker_key);
      luaL_error(L, "cannot start the thread for HTTP: %s", strerror(error));
    }
  }
  HttpWorker *worker = *(HttpWorker **)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (worker == NULL) luaL_error(L, "wgtwo is closed: this Lua state is ending");
  return worker;
}

bool http_worker_submit(HttpWorker *worker, HttpRequest *request) {
  pthread_mutex_lock(&worker->lock);
  bool room = worker->outstanding < HTTP_MOST_REQUESTS;
  if (room) {
    worker->outstanding++;
    op_own(&request->op);
    request->next = NULL;
    *worker->submitted_end = request;
    worker->submitted_end = &request->next;
  }
  pthread_mutex_unlock(&worker->lock);
  if (room) curl_multi_wakeup(worker->multi);
  return room;
}

void http_worker_cancel(HttpWorker *worker, HttpRequest *request) {
  atomic_store(&request->cancelled, true);
  pthread_mutex_lock(&worker->lock);
  worker->cancels = true;
  pthread_mutex_unlock(&worker->lock);
  curl_multi_wakeup(worker->multi);
}

void http_worker_register(lua_State *L) {
  luaL_newmetatable(L, WORKER_TYPE);
  lua_pushcfunction(L, close_worker);
  lua_setfield(L, -2, "__gc");
  lua_pop(L, 1);
}
