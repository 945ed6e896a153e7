--- Subscribing to one of v1's event streams: from options to a plan. See `wgtwo.events.request_v0` for what a plan is.
--
-- @module wgtwo.events.request_v1

local core = require "wgtwo.core"
local event = require "wgtwo.events.event"
local limits = require "wgtwo.limits"
local schema = require "wgtwo.schema"

local v1 = limits.events_v1

local request_v1 = {}

--- Whether a name is a v1 stream.
-- @tparam string name
-- @treturn boolean
function request_v1.has(name)
  return v1.streams[name] ~= nil
end

local starts = {
  new = function(configuration) configuration.start_at_new = {} end,
  oldest = function(configuration) configuration.start_at_oldest_possible = {} end,
  sequence = function(configuration, id) configuration.start_at_id = id end,
  timestamp = function(configuration, t) configuration.start_at_timestamp = t end,
}

--- Whether this generation has a start position.
-- @tparam string name
-- @treturn boolean
function request_v1.has_start(name)
  return starts[name] ~= nil
end

local function new_configuration(o)
  local configuration = { max_in_flight = o.max_in_flight }
  if o.queue then
    configuration.durable_queue = { custom_name = o.queue }
  else
    configuration.regular = {}
  end
  if o.ack == "none" then
    configuration.disable_explicit_ack = {}
  else
    configuration.custom_ack_timeout = o.ack_timeout -- nil: the platform's 30 s
  end
  return configuration
end

--- The moment after an event's: its timestamp and a nanosecond.
local function just_after(timestamp)
  local nanos = timestamp.nanos + 1
  return { seconds = timestamp.seconds + nanos // 1000000000, nanos = nanos % 1000000000 }
end

--- Makes the plan.
-- @tparam table o checked options of `client:events`; `start` as { name =, value = }
-- @tparam string name the stream's
-- @treturn table
function request_v1.plan(o, name)
  local stream = v1.streams[name]
  local method, ack = schema.resolve(stream.stream), schema.resolve(stream.ack)
  local configuration = new_configuration(o)

  local plan = {
    api = "v1", name = name, method = method, ack_method = ack,
    class = event.v1(name, stream.field), is_redelivered = core.reader(method.output, "metadata.is_redelivered"),
    scopes = stream.scope or "", acknowledged = o.ack ~= "none", ack_timeout = o.ack_timeout or v1.ack_timeout.default,
    expected = core.encode(ack.output, { ack_status = { status_code = v1.success } }),
  }

  --- The request. A regular stream has no position at the server: after a reconnect it goes on behind the last event.
  function plan.request(last)
    local copy = {}
    for key, field in pairs(configuration) do copy[key] = field end
    local metadata = last and not o.queue and last.metadata
    if metadata and metadata.timestamp then
      starts.timestamp(copy, just_after(metadata.timestamp))
    elseif o.start then
      starts[o.start.name](copy, o.start.value)
    end
    return core.encode(method.input, { stream_configuration = copy })
  end

  --- What acknowledges an event; nil where it has nothing to acknowledge with.
  function plan.ack_request(message)
    local info = message.metadata and message.metadata.ack_info
    return info and core.encode(ack.input, { ack_info = info }) or nil
  end

  --- The status of an answer that is a failure though the call went well; nil for a success.
  function plan.ack_failure(reply)
    local status = reply and reply.ack_status and reply.ack_status.status_code or "STATUS_CODE_UNSPECIFIED"
    if status ~= v1.success then return tostring(status) end
  end

  return plan
end

return request_v1
