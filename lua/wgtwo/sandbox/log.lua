--- The history of events: one sequence for all kinds, bounded by age and by count.
--
-- An event has `id` (1, 2, 3 … over all kinds), `kind`, `at` (seconds since 1970), `number` (its subscriber),
-- `client` (the OAuth client that may see it; nil: every one), `body` (its payload and what else is the same in every
-- delivery, as bytes), `newest_record` (of a list with one for each subscription that got it; false: none has).
--
-- `touched`, where somebody asks for it, is the set of the ids whose records have changed; else it is false.
--
-- @module wgtwo.sandbox.log

local core = require "wgtwo.core"
local clock = require "wgtwo.sandbox.clock"
local framing = require "wgtwo.sandbox.framing"
local identity = require "wgtwo.sandbox.identity"
local random = require "wgtwo.sandbox.random"
local schema = require "wgtwo.schema"

local Log = {}
Log.__index = Log

local log = {}

local owner_type = schema.type("wgtwo.events.v0.Owner")
local OWNER <const> = 12 -- the field of wgtwo.events.v0.Event

--- An empty history.
-- @tparam table time the clock
-- @tparam table limits `history` (seconds), `history_events` (count), `numbers_without_plus`
-- @treturn table
function log.new(time, limits)
  return setmetatable({ clock = time, limits = limits, first = 1, last = 0, events = {}, owners = {},
    touched = false }, Log)
end

--- Takes the leading plus from every number, as some deliveries of the platform do.
local function strip_plus(fields)
  for name, value in pairs(fields) do
    if name == "e164" then
      fields[name] = value:gsub("^%+", "")
    elseif type(value) == "table" then
      strip_plus(value)
    end
  end
end

local carried = {} -- what is being encoded

--- What is the same in every delivery of an event, as bytes of the message that carries it.
local function encode_body(event, without_plus)
  local kind = event.kind
  carried.timestamp = kind.api == "v0" and clock.timestamp(event.at, carried.timestamp) or nil
  if kind.api == "v0" and without_plus then strip_plus(event.payload) end
  carried[kind.field] = event.payload
  local ok, bytes = pcall(core.encode, kind.carrier, carried)
  carried[kind.field] = nil
  if not ok then error(bytes, 0) end
  return bytes
end

--- A function that gives the owner of a number's v0 events as a client sees it, as bytes of the event.
local function owner_for(client, without_plus)
  return random.remembered(function(number)
    local fields = { phone_number = { e164 = number }, sub = identity.subject(client, { number = number }) }
    if without_plus then strip_plus(fields) end
    return framing.field(OWNER, core.encode(owner_type, fields))
  end)
end

--- The owner of a v0 event as a client sees it, as bytes of the event: `sub` is another for each.
-- @tparam table event
-- @tparam ?string client
-- @treturn string
function Log:owner(event, client)
  if not event.number then return "" end
  client = client or ""
  local owner = self.owners[client]
  if not owner then
    owner = owner_for(client, self.limits.numbers_without_plus)
    self.owners[client] = owner
  end
  return owner(event.number)
end

--- The payload of an event.
-- @tparam table event
-- @treturn message of its kind's type
function log.payload(event)
  return assert(core.decode(event.kind.carrier, event.body))[event.kind.field]
end

--- Forgets what is older than the history, and the oldest above the count.
function Log:prune()
  local events, oldest = self.events, self.clock:now() - self.limits.history
  local surplus = self.last - self.limits.history_events
  while self.first <= self.last and (self.first <= surplus or events[self.first].at < oldest) do
    events[self.first] = nil
    self.first = self.first + 1
  end
end

--- Adds an event.
-- @tparam table event `kind`, `at`, `payload`, and what is known of `number`, `client`, `sub`
-- @treturn table the event
-- @raise where the payload does not fit its type
function Log:append(event)
  event.body, event.payload = encode_body(event, self.limits.numbers_without_plus), nil
  local id = self.last + 1
  event.id = id
  self.events[id] = event
  self.last = id
  self:prune()
  return event
end

--- Puts back an event of a snapshot, under the id it had.
function Log:restore(event)
  event.body, event.payload = encode_body(event, self.limits.numbers_without_plus), nil
  if self.last < self.first then self.first = event.id end
  self.events[event.id] = event
  self.last = event.id
end

--- An event by its id.
-- @treturn ?table nil where it is no longer, or not yet, there
function Log:get(id)
  return self.events[id]
end

--- The id of the oldest event.
-- @treturn int one past the last where there is none
function Log:oldest()
  self:prune()
  return self.first
end

--- The id of the first event at or after a time, as messages show times.
-- @tparam number time
-- @treturn int one past the last where there is none
function Log:since(time)
  self:prune()
  time = clock.micros(time)
  local low, high = self.first, self.last + 1
  while low < high do
    local middle = (low + high) // 2
    if clock.micros(self.events[middle].at) < time then low = middle + 1 else high = middle end
  end
  return low
end

return log
