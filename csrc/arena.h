/* A bump allocator: many small pieces, freed all at once.
 *
 * Owner: whoever calls arena_init; one thread at a time. Pieces are aligned for any type and are not freed one by one.
 * The schema keeps one for its life; encoding keeps one per Lua state and resets it before every message. */

#ifndef WGTWO_ARENA_H
#define WGTWO_ARENA_H

#include <stddef.h>

typedef struct ArenaBlock ArenaBlock;

/* Where blocks come from, when it is not malloc: memory of `size` bytes that `owner` frees after the arena's last use;
 * NULL when there is none. */
typedef void *(*ArenaSource)(void *owner, size_t size);

typedef struct Arena {
  ArenaBlock *block; /* the newest block, linked to the older ones */
  char *next;        /* free bytes of the newest block start here */
  size_t left;
  size_t block_size;  /* of a usual block; a larger piece gets one of its own */
  ArenaSource source; /* NULL: malloc */
  void *owner;
} Arena;

void arena_init(Arena *arena, size_t block_size);

/* An arena whose blocks belong to somebody else: arena_free and arena_reset forget them. */
void arena_init_in(Arena *arena, size_t block_size, ArenaSource source, void *owner);

/* Memory of `size` bytes, not cleared; NULL when there is none. */
void *arena_alloc(Arena *arena, size_t size);

/* The same, cleared. */
void *arena_zalloc(Arena *arena, size_t size);

/* A copy of `len` bytes with a NUL behind them; NULL when there is no memory. */
char *arena_copy(Arena *arena, const char *text, size_t len);

/* Forgets every piece and keeps one usual block for the next use. */
void arena_reset(Arena *arena);

/* Frees everything; the arena may be used again. */
void arena_free(Arena *arena);

#endif
