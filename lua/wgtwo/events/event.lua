--- An event: what a subscription gives.
--
-- `type`, `api` ("v0" or "v1"), `payload` (the message of its type), `timestamp` (seconds since 1970), `number` (its
-- subscriber, with "+", where known), `is_redelivered`, `sequence` (v0), `message` (the whole); any other name is a
-- field of the message: `event.sms_event`. Fields are read when they are asked for.
--
--     print(event.type, event.number, event.sms_event.text)
--     event:ack()
--
-- @module wgtwo.events.event

local core = require "wgtwo.core"
local limits = require "wgtwo.limits"
local options = require "wgtwo.options"

local which, is_message = core.which, core.is_message

local M = {}

-- An event is its message with a class of its own, and an owner: the connection that it came over, until it is
-- acknowledged.
local view, owner, set_owner = core.view, core.owner, core.set_owner

local methods = {}

local ack_options = { wait = { type = "boolean", default = false } }

--- Acknowledges the event: it was handled, and does not come again. Returns at once; what fails is tried again in the
-- background until the ack timeout, then counted and logged. A second time does nothing; nothing is done either where
-- the subscription has `ack = "none"`.
-- @function event:ack
-- @tparam ?table given `wait`: true to wait for the server's answer
-- @treturn ?boolean true
-- @treturn ?wgtwo.error of kind "ack" with `wait`; of kind "closed" after the subscription was closed
-- @usage assert(event:ack{ wait = true })
function methods.ack(event, given)
  local wait = given ~= nil and options.check("event:ack", given, ack_options).wait
  local connection = owner(event)
  local feed = connection and connection.feed
  if not feed or not feed.acks then
    if not is_message(event) then error("call it with a colon: event:ack(…)", 2) end
    return true
  end
  local request = feed.plan.ack_request(event)
  local ok, err = true, nil
  if request then ok, err = feed.acks:send(request, wait, connection ~= feed.connection) end
  if ok then set_owner(event, nil) end
  return ok, err
end

--- Seconds of a Timestamp.
local function seconds(timestamp)
  return timestamp and timestamp.seconds + timestamp.nanos * 1e-9
end

--- A subscriber's number: received ones may lack the plus.
local function with_plus(number)
  if not number or number == "" then return nil end
  return number:find("^%d") and "+" .. number or number
end

--- Makes the metatable of a kind of event.
-- @tparam table getters by field name
local function class(getters)
  for name, method in pairs(methods) do
    getters[name] = function() return method end
  end
  local meta = { __name = "wgtwo.event", __index = core.delegate(getters) }

  function meta.__tostring(event)
    return ("wgtwo.event(%s%s)"):format(event.type or "of unknown type", event.is_redelivered and ", redelivered" or "")
  end

  return meta
end

local function is_redelivered(event)
  local metadata = event.metadata
  return metadata ~= nil and metadata.is_redelivered
end

-- v0: the message has its metadata, and its payload in a oneof.

local type_of_field = {}
for name, field in pairs(limits.events_v0.fields) do type_of_field[field] = name end

local function field_v0(event)
  return which(event, "event")
end

-- Where each payload has its subscriber's number, for events without an owner.
local function number_in(field, payload)
  if field == "sms_event" or field == "sms_delivery_report_event" then
    return payload.direction == "FROM_SUBSCRIBER" and payload.from_e164
      or payload.direction == "TO_SUBSCRIBER" and payload.to_e164
  elseif field == "country_change_event" or field == "consent_revoke_event" then
    return payload.msisdn
  elseif field == "voicemail_event" then
    return payload.to_number
  elseif field ~= "voice_event" and field ~= "token_audit_event" then
    return payload.number
  end
end

M.v0 = class{
  api = function() return "v0" end,
  message = view,
  type = function(event) return type_of_field[field_v0(event)] end,
  payload = function(event)
    local field = field_v0(event)
    return field and view(event)[field]
  end,
  timestamp = function(event)
    return seconds(view(event).timestamp)
  end,
  number = function(event)
    local message, field = view(event), field_v0(event)
    local subscriber = message.owner
    local number = subscriber and subscriber.phone_number or field and number_in(field, message[field])
    return with_plus(number and number.e164)
  end,
  is_redelivered = is_redelivered,
  sequence = function(event)
    local metadata = event.metadata
    return metadata and metadata.sequence
  end,
}

-- v1: the message is the reply: metadata, and the payload in a field of its own.

--- The metatable of one v1 stream's events.
-- @tparam string name the stream's
-- @tparam string field that holds the payload
-- @treturn table
function M.v1(name, field)
  return class{
    api = function() return "v1" end,
    type = function() return name end,
    message = view,
    payload = function(event) return view(event)[field] end,
    timestamp = function(event)
      local metadata = event.metadata
      return metadata and seconds(metadata.timestamp)
    end,
    number = function(event)
      local payload = view(event)[field]
      local number = payload and payload.number
      return with_plus(number and number.e164)
    end,
    is_redelivered = is_redelivered,
    sequence = function() return nil end,
  }
end

return M
