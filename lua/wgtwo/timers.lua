--- Deadlines in order: a binary heap of items, the earliest on top.
--
-- An item is any table with its time in `at`; its place in the heap is kept in `slot`, nil while it is in none. So an
-- item is pushed and removed without anything being allocated, in O(log n).
--
-- @module wgtwo.timers

local timers = {}

local function put(heap, item, slot)
  heap[slot] = item
  item.slot = slot
end

local function rise(heap, item, slot)
  while slot > 1 do
    local parent = slot // 2
    if heap[parent].at <= item.at then break end
    put(heap, heap[parent], slot)
    slot = parent
  end
  put(heap, item, slot)
end

local function sink(heap, item, slot)
  local size = #heap
  while true do
    local child = 2 * slot
    if child > size then break end
    if child < size and heap[child + 1].at < heap[child].at then child = child + 1 end
    if item.at <= heap[child].at then break end
    put(heap, heap[child], slot)
    slot = child
  end
  put(heap, item, slot)
end

--- An empty heap: a table whose first element is the earliest item.
-- @treturn table
function timers.new()
  return {}
end

--- Adds an item that is in no heap.
-- @tparam table heap
-- @tparam table item with its time in `at`
function timers.push(heap, item)
  rise(heap, item, #heap + 1)
end

--- Takes an item out, wherever it is; one that is in no heap stays so.
-- @tparam table heap
-- @tparam table item
function timers.remove(heap, item)
  local slot = item.slot
  if not slot then return end
  item.slot = nil
  local last = table.remove(heap)
  if last == item then return end
  if slot > 1 and heap[slot // 2].at > last.at then
    rise(heap, last, slot)
  else
    sink(heap, last, slot)
  end
end

return timers
