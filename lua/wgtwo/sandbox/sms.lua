--- `wgtwo.sms.v1` and `wgtwo.sms.v0`: what is sent comes back as events.
--
-- An SMS that is sent becomes an SMS_EVENT for the OAuth client that sent it, one for each direction whose end is a
-- subscriber, and then an SMS_DELIVERY_REPORT_EVENT. The events of one message share `uuid`; `id` is another for each.
-- A receiver that ends in 0404 is REJECTed, one that ends in 0503 is an ERROR (`wgtwo.sandbox.numbers`); neither makes
-- events. Undocumented, so chosen here: without a token the events go to streams without a token; the report comes
-- `delivery_report_delay` seconds after (0).
--
-- @module wgtwo.sandbox.sms

local core = require "wgtwo.core"
local gsm7 = require "wgtwo.sms.gsm7"
local limits = require "wgtwo.limits"
local methods = require "wgtwo.sms.methods"
local numbers = require "wgtwo.sandbox.numbers"
local status = require "wgtwo.sandbox.status"
local subscription = require "wgtwo.sandbox.subscription"

local sms = {}

-- Bytes of data that one fragment of several holds: 140 less the header of 6 bytes, or 12 with ports (3GPP TS 23.040).
local DATA_PART <const>, DATA_PART_PORTS <const> = 134, 128

-- Checking, by the same table as the client's side --------------------------------------------------------------------

--- What is wrong with one field.
local function field_problem(field, request)
  local value = request[field.name]
  if field.wrap and value ~= nil then value = value[field.wrap] end
  if value == nil or value == "" then
    if field.optional then return nil end
    return "is needed"
  end
  return field.check(value)
end

--- INVALID_ARGUMENT for the first wrong field of a request.
local function check(fields, request)
  for _, field in ipairs(fields) do
    local names, present = {}, not field.one_of
    for _, choice in ipairs(field.one_of or { field }) do
      names[#names + 1] = choice.name
      if not field.one_of or request[choice.name] ~= nil then
        present = true
        local problem = field_problem(choice, request)
        if problem then return status.invalid(choice.name, problem) end
      end
    end
    if not present then return status.invalid(names[1], "one of " .. table.concat(names, ", ") .. " is needed") end
  end
end

-- Sending -------------------------------------------------------------------------------------------------------------

local function data_fragments(bytes, has_ports)
  local single = has_ports and limits.sms.data_single_ports or limits.sms.data_single
  if #bytes <= single then return 1 end
  local part = has_ports and DATA_PART_PORTS or DATA_PART
  return (#bytes + part - 1) // part
end

--- An address as a member of the event's oneof.
local function put_address(payload, side, text)
  local kind = numbers.sender_kind(text) or "text"
  if kind == "e164" then
    payload[side .. "_e164"] = { e164 = text }
  elseif kind == "national" then
    payload[side .. "_national_phone_number"] = { national_phone_number = text }
  else
    payload[side .. "_text_address"] = { text_address = text }
  end
end

local function addressed(message, fields)
  put_address(fields, "from", message.from)
  put_address(fields, "to", message.to)
  return fields
end

--- The directions in which an SMS touches subscribers, each with its subscriber.
local function routes(message, prefixes)
  local from_subscriber = message.direction == "FROM_SUBSCRIBER" or numbers.is_subscriber(message.from, prefixes)
  local to_subscriber = message.direction == "TO_SUBSCRIBER" or numbers.is_subscriber(message.to, prefixes)
  local list = {}
  if from_subscriber then list[#list + 1] = { direction = "FROM_SUBSCRIBER", number = message.from } end
  if to_subscriber then list[#list + 1] = { direction = "TO_SUBSCRIBER", number = message.to } end
  return list
end

--- Publishes the events of a message that was accepted. Returns its id.
local function deliver(sandbox, client, message)
  local uuid, ids = sandbox.ids:uuid(), {}
  local owner = client or subscription.ANONYMOUS
  local list = routes(message, sandbox.settings.subscribers)
  for _, route in ipairs(list) do
    local id = sandbox.ids:uuid()
    ids[route.direction] = id
    sandbox:publish_event{ kind = "SMS_EVENT", number = route.number, client = owner,
      payload = addressed(message, { id = id, uuid = uuid, direction = route.direction, text = message.text,
        bytes = message.bytes }) }
  end
  local report = { kind = "SMS_DELIVERY_REPORT_EVENT", client = owner, number = message.subscriber,
    payload = addressed(message, { id = sandbox.ids:uuid(), direction = message.direction,
      sms_id = ids[message.direction], status = "DELIVERED" }) }
  local delay = sandbox.settings.delivery_report_delay
  if delay > 0 then
    sandbox:publish_later(report, sandbox.clock:now() + delay)
  else
    sandbox:publish_event(report)
  end
  return ids[message.direction]
end

local refusals = {
  reject = { "REJECT", "the receiver cannot be reached" },
  error = { "ERROR", "temporary failure, try again" },
}

--- Sends, or refuses.
-- @treturn string the ending of a status: "OK", "REJECT" or "ERROR"
-- @treturn string the message's id
-- @treturn string description
local function send(sandbox, client, message)
  local refusal = refusals[numbers.fate(message.to)]
  if refusal then return refusal[1], sandbox.ids:uuid(), refusal[2] end
  return "OK", deliver(sandbox, client, message), ""
end

local function to_subscriber(from, to, content)
  content.direction, content.from, content.to, content.subscriber = "TO_SUBSCRIBER", from, to, to
  return content
end

local function from_subscriber(from, to, content)
  content.direction, content.from, content.to, content.subscriber = "FROM_SUBSCRIBER", from, to, from
  return content
end

-- v1 ------------------------------------------------------------------------------------------------------------------

local v1 = {
  send_text_to_subscriber = function(request)
    return to_subscriber(request.from_address, request.to_subscriber, { text = request.content })
  end,
  send_text_from_subscriber = function(request)
    return from_subscriber(request.from_subscriber, request.to_address, { text = request.content })
  end,
  send_data_to_subscriber = function(request)
    return to_subscriber(request.from_address, request.to_subscriber, { bytes = request.content })
  end,
}

local function reply_v1(sandbox, exchange, request, read)
  local message = read(request)
  local outcome, id, description = send(sandbox, exchange.client, message)
  local fragments = message.text and gsm7.measure(message.text).fragments
    or data_fragments(message.bytes, core.has(request, "application_port"))
  return { message_id = id, status = "SEND_STATUS_" .. outcome, description = description, num_fragments = fragments }
end

-- v0 ------------------------------------------------------------------------------------------------------------------

--- The text of whichever address of a oneof is set.
local function address(request, oneof)
  local value = request[core.which(request, oneof)]
  for _, name in ipairs{ "e164", "text_address", "national_phone_number" } do
    local ok, text = pcall(function() return value[name] end)
    if ok then return text end
  end
end

local v0 = {
  send_text_to_subscriber = function(request)
    return to_subscriber(address(request, "from_address"), request.to_subscriber.e164, { text = request.content })
  end,
  send_text_from_subscriber = function(request)
    return from_subscriber(request.from_subscriber.e164, address(request, "to_address"), { text = request.content })
  end,
  send_binary_to_subscriber = function(request)
    return to_subscriber(address(request, "from_address"), request.to_subscriber.e164, { bytes = request.content })
  end,
  send_text_to_subscriber_as_operator = function(request)
    return to_subscriber(request.from_operator_address.text_address, request.to_subscriber.e164,
      { text = request.content })
  end,
  send_text_to_subscriber_as_product = function(request)
    return to_subscriber(request.from_product_address.text_address, request.to_subscriber.e164,
      { text = request.content })
  end,
}

local function reply_v0(sandbox, exchange, request, read)
  local outcome, id, description = send(sandbox, exchange.client, read(request))
  return { request_id = id, status = "SEND_" .. outcome, description = description }
end

local function add(sandbox, entries, readers, reply)
  for name, entry in pairs(entries) do
    local read = assert(readers[name], name)
    sandbox:serve(entry.method, {
      check = function(request) return check(entry.fields, request) end,
      unary = function(_, exchange, request) return reply(sandbox, exchange, request, read) end,
    })
  end
end

--- Adds both services to the sandbox.
-- @tparam table sandbox the server
function sms.register(sandbox)
  add(sandbox, methods.v1, v1, reply_v1)
  add(sandbox, methods.v0, v0, reply_v0)
end

return sms
