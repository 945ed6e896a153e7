--- Subscribing to `wgtwo.events.v0`: from options to a plan for one stream that carries all v0 types.
--
-- A plan says everything that differs between the generations: the methods, the request, the scopes, where an event is
-- in a reply, how it is acknowledged and what success looks like.
--
-- @module wgtwo.events.request_v0

local core = require "wgtwo.core"
local event = require "wgtwo.events.event"
local limits = require "wgtwo.limits"
local oauth_scopes = require "wgtwo.events.scopes"
local schema = require "wgtwo.schema"

local v0 = limits.events_v0

local request_v0 = {}

--- Whether a name is a v0 event type.
-- @tparam string name
-- @treturn boolean
function request_v0.has(name)
  return v0.fields[name] ~= nil
end

local starts = {
  new = function() end,
  oldest = function(request) request.start_at_oldest_possible = {} end,
  last_received = function(request) request.start_with_last_received = {} end,
  sequence = function(request, n) request.start_at_sequence = n end,
  timestamp = function(request, t) request.start_at_timestamp = t end,
  ago = function(request, seconds) request.start_at_time_delta = seconds end,
}

--- Whether this generation has a start position.
-- @tparam string name "new", "oldest", "last_received", "sequence", "timestamp" or "ago"
-- @treturn boolean
function request_v0.has_start(name)
  return starts[name] ~= nil
end

--- Names of the subscription, as the request has them.
local function names(client, o)
  local queue_name = o.queue_name or o.queue
  local durable_name = o.durable_name or o.queue
  if not queue_name and not durable_name then return nil, nil, o.client_id end
  local source = client.auth
  return queue_name, durable_name, o.client_id or source and source.client_id or "wgtwo"
end

local function new_request(client, o, types)
  local request = { type = types, max_in_flight = o.max_in_flight }
  request.queue_name, request.durable_name, request.client_id = names(client, o)
  if o.ack ~= "none" then
    request.manual_ack = { enable = true, timeout = o.ack_timeout or v0.ack_timeout.default }
    request.max_in_flight = o.max_in_flight or v0.max_in_flight.default
  end
  return request
end

--- Makes the plan.
-- @tparam table client
-- @tparam table o checked options of `client:events`; `start` as { name =, value = }
-- @tparam {string,...} types the v0 types among them
-- @treturn table
function request_v0.plan(client, o, types)
  local method, ack = schema.resolve(v0.subscribe), schema.resolve(v0.ack)
  local request = new_request(client, o, types)
  local event_type = schema.type("wgtwo.events.v0.Event")
  local inbox, sequence = core.reader(event_type, "metadata.ack_inbox"), core.reader(event_type, "metadata.sequence")
  local acknowledgement = {}

  local plan = {
    api = "v0", name = table.concat(types, ", "), method = method, ack_method = ack,
    class = event.v0, part = "event",
    is_redelivered = core.reader(event_type, "metadata.is_redelivered"),
    scopes = oauth_scopes.of_types(types), acknowledged = o.ack ~= "none",
    ack_timeout = o.ack_timeout or v0.ack_timeout.default,
    expected = "", -- success is the gRPC status alone
  }

  --- The request. A regular stream has no position at the server: after a reconnect it goes on behind the last event.
  function plan.request(last)
    local regular = not request.queue_name and not request.durable_name
    local metadata = last and regular and last.metadata
    local start, value = o.start and o.start.name or "new", o.start and o.start.value
    if metadata and metadata.sequence ~= 0 then start, value = "sequence", metadata.sequence + 1 end
    local copy = {}
    for key, field in pairs(request) do copy[key] = field end
    starts[start](copy, value)
    return core.encode(method.input, copy)
  end

  --- What acknowledges an event; nil where it has no inbox to acknowledge to.
  function plan.ack_request(message)
    acknowledgement.inbox, acknowledgement.sequence = inbox(message), sequence(message)
    if acknowledgement.inbox == "" then return nil end
    return core.encode(ack.input, acknowledgement)
  end

  --- Whether an answer with status OK is a success.
  function plan.ack_failure()
    return nil
  end

  return plan
end

return request_v0
