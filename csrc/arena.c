/* The bump allocator of arena.h: a chain of blocks, the newest first. */

#include "arena.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

struct ArenaBlock {
  ArenaBlock *older;
  size_t size;
  _Alignas(max_align_t) char bytes[];
};

enum { ALIGNMENT = _Alignof(max_align_t) };

void arena_init(Arena *arena, size_t block_size) {
  memset(arena, 0, sizeof *arena);
  arena->block_size = block_size;
}

void arena_init_in(Arena *arena, size_t block_size, ArenaSource source, void *owner) {
  arena_init(arena, block_size);
  arena->source = source;
  arena->owner = owner;
}

/* A block that is somebody else's stands for itself: it has no header and is in no chain. */
static char *borrow_block(Arena *arena, size_t size) {
  char *block = size <= SIZE_MAX - ALIGNMENT ? arena->source(arena->owner, size + ALIGNMENT) : NULL;
  if (block == NULL) return NULL;
  return block + (ALIGNMENT - (uintptr_t)block % ALIGNMENT) % ALIGNMENT;
}

static char *own_block(Arena *arena, size_t size) {
  if (size > SIZE_MAX - sizeof(ArenaBlock)) return NULL;
  ArenaBlock *block = malloc(sizeof *block + size);
  if (block == NULL) return NULL;
  block->older = arena->block;
  block->size = size;
  arena->block = block;
  return block->bytes;
}

static void *add_block(Arena *arena, size_t size) {
  size_t wanted = size > arena->block_size ? size : arena->block_size;
  char *bytes = arena->source != NULL ? borrow_block(arena, wanted) : own_block(arena, wanted);
  if (bytes == NULL) return NULL;
  arena->next = bytes + size;
  arena->left = wanted - size;
  return bytes;
}

void *arena_alloc(Arena *arena, size_t size) {
  if (size > SIZE_MAX - ALIGNMENT) return NULL;
  size = (size + ALIGNMENT - 1) & ~(size_t)(ALIGNMENT - 1);
  if (size > arena->left) return add_block(arena, size);
  void *piece = arena->next;
  arena->next += size;
  arena->left -= size;
  return piece;
}

void *arena_zalloc(Arena *arena, size_t size) {
  void *piece = arena_alloc(arena, size);
  if (piece != NULL) memset(piece, 0, size);
  return piece;
}

char *arena_copy(Arena *arena, const char *text, size_t len) {
  char *copy = arena_alloc(arena, len + 1);
  if (copy == NULL) return NULL;
  memcpy(copy, text, len);
  copy[len] = '\0';
  return copy;
}

void arena_reset(Arena *arena) {
  ArenaBlock *kept = NULL;
  for (ArenaBlock *block = arena->block; block != NULL;) {
    ArenaBlock *older = block->older;
    if (kept == NULL && block->size == arena->block_size) {
      kept = block;
      kept->older = NULL;
    } else {
      free(block);
    }
    block = older;
  }
  arena->block = kept;
  arena->next = kept != NULL ? kept->bytes : NULL;
  arena->left = kept != NULL ? kept->size : 0;
}

void arena_free(Arena *arena) {
  for (ArenaBlock *block = arena->block; block != NULL;) {
    ArenaBlock *older = block->older;
    free(block);
    block = older;
  }
  arena->block = NULL;
  arena->next = NULL;
  arena->left = 0;
}
