--- `wgtwo.events.v0.EventsService`: Subscribe and Ack.
--
-- Which subscription a stream belongs to follows from the names it gives: none, its own (regular); durable_name with
-- client_id (durable); queue_name with client_id (queue); queue_name with durable_name (durable queue). Undocumented,
-- so chosen here: with other types the same names are another subscription; an acknowledgement for an inbox that is
-- gone, or held by another client, is answered OK and has no effect; a second connection to a durable subscription
-- takes it over.
--
-- @module wgtwo.sandbox.events_v0

local core = require "wgtwo.core"
local clock = require "wgtwo.sandbox.clock"
local framing = require "wgtwo.sandbox.framing"
local kinds = require "wgtwo.sandbox.kinds"
local limits = require "wgtwo.limits"
local status = require "wgtwo.sandbox.status"
local subscription = require "wgtwo.sandbox.subscription"

local events_v0 = {}

local size_of <const> = framing.size

local EVENT <const> = framing.tag(1)    -- of wgtwo.events.v0.SubscribeEventsResponse
local METADATA <const> = framing.tag(1) -- of Event
local SEQUENCE <const>, REDELIVERED <const> = framing.integer_tag(1), framing.join(framing.integer_tag(2), 1) -- of that
local ACK_INBOX <const> = 3

local Member = {}
Member.__index = Member

function Member:send(event, is_redelivered)
  local sub, id, inbox, body = self.subscription, event.id, self.inbox_field, event.body
  local owner = sub.log:owner(event, sub.client)
  local redelivered = is_redelivered and REDELIVERED or ""
  local metadata = #SEQUENCE + size_of(id) + #redelivered + #inbox -- their sizes
  local whole = #METADATA + size_of(metadata) + metadata + #body + #owner
  return self.exchange:send(EVENT, whole, METADATA, metadata, SEQUENCE, id, redelivered, inbox, body, owner)
end

function Member:finish(reason)
  self.exchange:finish(reason)
end

--- The kinds that a request names, as a set and as a sorted list of names; or nil and a status.
local function requested_kinds(request, exchange)
  local set, names = {}, {}
  for _, name in ipairs(request.type) do
    local denied = exchange:require_scope(kinds.get(name).scope, "for " .. name)
    if denied then return nil, denied end
    if not set[name] then names[#names + 1] = name end
    set[name] = true
  end
  table.sort(names)
  return set, names
end

--- The function that gives the first event to look at, for a stream without a stored position.
local function start_of(request, sandbox)
  local log = sandbox.log
  local position = core.which(request, "start_position")
  if position == nil then return function() return log.last + 1 end end
  if position == "start_at_sequence" then
    return function() return math.max(request.start_at_sequence, 1) end
  elseif position == "start_at_timestamp" then
    return function() return log:since(clock.seconds(request.start_at_timestamp)) end
  elseif position == "start_at_time_delta" then
    return function() return log:since(sandbox.clock:now() - clock.seconds(request.start_at_time_delta)) end
  elseif position == "start_at_oldest_possible" then
    return function() return log:oldest() end
  end
  return function(wants) -- start_with_last_received
    for id = log.last, log.first, -1 do
      if wants(log:get(id)) then return id end
    end
    return log.last + 1
  end
end

--- What a request's names make of it.
local function kind_of(request, names, client)
  local queue, durable, id = request.queue_name, request.durable_name, request.client_id
  local function key(...) return table.concat({ "v0", client or "", ... }, "\0") end
  if queue ~= "" and durable ~= "" then
    return { name = ("durable queue %s/%s"):format(queue, durable), kept = true,
      key = key("durable queue", queue, durable, table.concat(names, ",")) }
  elseif queue ~= "" then
    if id == "" then return nil, status.invalid("client_id", "a queue needs a client_id, or a durable_name") end
    return { name = "queue " .. queue, key = key("queue", queue, table.concat(names, ",")) }
  elseif durable ~= "" then
    if id == "" then return nil, status.invalid("client_id", "a durable subscription needs a client_id") end
    return { name = ("durable %s/%s"):format(id, durable), kept = true, exclusive = true,
      key = key("durable", id, durable, table.concat(names, ",")) }
  end
  return { name = "regular" }
end

--- How a stream acknowledges.
local function acknowledgement(request, settings)
  local manual = request.manual_ack
  if not manual or not manual.enable then return { explicit = false } end
  local timeout = settings.v0_ack_timeout
  if manual.timeout then timeout = clock.seconds(manual.timeout) end
  local max = request.max_in_flight
  return { explicit = true, ack_timeout = timeout, max_in_flight = max > 0 and max or settings.v0_max_in_flight }
end

local function subscribe(sandbox, exchange, request)
  local set, names = requested_kinds(request, exchange)
  if not set then return nil, names end
  local client = exchange.client
  local wish, wrong = kind_of(request, names, client)
  if not wish then return nil, wrong end
  local how = acknowledgement(request, sandbox.settings)
  local start = start_of(request, sandbox)
  local inbox = "_INBOX." .. sandbox.ids:hex(22)
  local member = setmetatable({ exchange = exchange, inbox = inbox,
    inbox_field = framing.field(ACK_INBOX, inbox), explicit = how.explicit,
    ack_timeout = how.ack_timeout, max_in_flight = how.max_in_flight or 0 }, Member)
  exchange:on_close(function()
    sandbox.inboxes[inbox] = nil
    sandbox.subscriptions:leave(member)
  end)
  exchange:on_room(function() member.subscription:unblock(member) end)
  sandbox.inboxes[inbox] = member
  exchange:send_headers()
  exchange.subscription = sandbox.subscriptions:join({
    api = "v0", name = wish.name, key = wish.key, kinds = set, client = client, exclusive = wish.exclusive,
    kept = wish.kept and sandbox.settings.position_kept or 0,
    start = function()
      return start(function(event) return set[event.kind.name] and subscription.is_for(event, client) end)
    end,
  }, member)
end

local function ack(sandbox, exchange, request)
  local member = sandbox.inboxes[request.inbox]
  if member and member.exchange.client == exchange.client then member.subscription:ack(request.sequence) end
  return ""
end

--- Adds the service to the sandbox.
-- @tparam table sandbox the server
function events_v0.register(sandbox)
  sandbox.inboxes = {} -- ack inbox → member
  sandbox:serve(limits.events_v0.subscribe, { stream = subscribe })
  sandbox:serve(limits.events_v0.ack, { unary = ack })
end

return events_v0
