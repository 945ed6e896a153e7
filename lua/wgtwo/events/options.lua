--- The options of `client:events`, checked: names, ranges, and what each generation has.
--
-- @module wgtwo.events.options

local limits = require "wgtwo.limits"
local options = require "wgtwo.options"
local request_v0 = require "wgtwo.events.request_v0"
local request_v1 = require "wgtwo.events.request_v1"

local M = {}

local known_types = {}
for name in pairs(limits.events_v0.fields) do known_types[#known_types + 1] = name end
for name in pairs(limits.events_v1.streams) do known_types[#known_types + 1] = name end
table.sort(known_types)

local function is_utf8(value) return utf8.len(value) ~= nil, "the text must be valid UTF-8" end

local text = { type = "string", nonempty = true, check = is_utf8 }
local reconnect_fields = {
  max_attempts = { type = "integer", min = 1 },
  initial = { type = "number", above = 0, max = limits.timeout_max, unit = "seconds" },
  max = { type = "number", above = 0, max = limits.timeout_max, unit = "seconds" },
}

local spec = {
  types = { type = "list", required = true, nonempty = true, of = { type = "string", one_of = known_types } },
  queue = { type = "string", check = is_utf8 }, queue_name = text, durable_name = text, client_id = text,
  max_in_flight = { type = "integer" },
  ack_timeout = { type = "number", above = 0, unit = "seconds" },
  ack = { type = "string", one_of = { "manual", "auto", "none" } },
  start = { type = { "string", "table" } },
  reconnect = { type = { "boolean", "table" }, fields = reconnect_fields, default = true },
  scope = { type = { "string", "list" }, of = text },
}

local function split_types(o, level)
  local v0, v1, seen = {}, {}, {}
  for _, name in ipairs(o.types) do
    if seen[name] then error(('client:events: types has "%s" twice'):format(name), level + 1) end
    seen[name] = true
    local list = request_v0.has(name) and v0 or v1
    list[#list + 1] = name
  end
  return v0, v1
end

local function check_range(o, name, range, generation, unit, level)
  local value = o[name]
  if value and (value < range.min or value > range.max) then
    error(("client:events: %s must be from %s to %s%s for %s, not %s"):format(name, range.min, range.max, unit,
      generation, value), level + 1)
  end
end

local function check_ranges(o, v0, v1, level)
  for generation, list in pairs{ v0 = v0, v1 = v1 } do
    if list[1] then
      local range = limits["events_" .. generation]
      check_range(o, "max_in_flight", range.max_in_flight, generation, "", level + 1)
      check_range(o, "ack_timeout", range.ack_timeout, generation, " seconds", level + 1)
    end
  end
end

local start_names = { "new", "oldest", "last_received" }
local start_values = {
  sequence = function(value) return math.type(value) == "integer" and value >= 0, "an integer, 0 or more" end,
  timestamp = function(value)
    return type(value) ~= "boolean" and not (type(value) == "number" and value < 0), "a time, in 1970 or later"
  end,
  ago = function(value) return type(value) == "number" and value >= 0, "seconds, 0 or more" end,
}

--- A start position as { name =, value = }.
local function read_start(start, level)
  if start == nil then return nil end
  if type(start) == "string" then
    for _, name in ipairs(start_names) do
      if name == start then return { name = name } end
    end
    local suggestion = options.suggestion(start, start_names)
    error(('client:events: start: unknown value "%s"%s'):format(start, suggestion), level + 1)
  end
  local name, value = next(start)
  local check = start_values[name]
  if not check or next(start, name) ~= nil then
    error('client:events: start is "new", "oldest", "last_received", or a table with one of sequence, timestamp '
      .. "and ago", level + 1)
  end
  local ok, expected = check(value)
  if not ok then error(("client:events: start.%s must be %s"):format(name, expected), level + 1) end
  return { name = name, value = value }
end

local function check_start(o, v0, v1, level)
  local name = o.start and o.start.name
  if not name then return end
  if v0[1] and not request_v0.has_start(name) then
    error(("client:events: v0 events cannot start at %s"):format(name), level + 1)
  elseif v1[1] and not request_v1.has_start(name) then
    error(("client:events: the v1 stream %s cannot start at %s; it can start at new, oldest, sequence or timestamp")
      :format(v1[1], name), level + 1)
  end
end

local function check_names(o, v0, level)
  for _, name in ipairs{ "queue_name", "durable_name", "client_id" } do
    if o[name] and not v0[1] then
      error(("client:events: %s is an option of v0 events; for v1 use queue"):format(name), level + 1)
    end
  end
  if o.queue == "" and v0[1] then error("client:events: v0 events need a queue with a name", level + 1) end
end

--- Checks the options; raises on misuse, before anything is sent.
-- @tparam table given
-- @tparam int level as for `wgtwo.options.check`
-- @treturn table checked; `start` as { name =, value = }, `ack` filled in
-- @treturn {string,...} the v0 types
-- @treturn {string,...} the v1 streams
function M.check(given, level)
  local o = options.check("client:events", given, spec, level + 1)
  local v0, v1 = split_types(o, level + 1)
  o.start = read_start(o.start, level + 1)
  check_start(o, v0, v1, level + 1)
  check_names(o, v0, level + 1)
  check_ranges(o, v0, v1, level + 1)
  if not o.ack then o.ack = (o.queue or o.queue_name or o.durable_name) and "manual" or "none" end
  return o, v0, v1
end

return M
