--- `wgtwo.webterminal.v0.WebTerminalService`: a phone in the browser. The other end answers every call.
--
-- An offer is answered with ringing, an answer (its SDP is the offer's, turned round), and in_call; bye with idle; an
-- action outside of a call with the error NOT_INCALL. MultiPipe has one such state for each call_id, a UUID. The
-- subscriber is that of the token, or in the metadata `wg2-msisdn`. Undocumented: what a missing one leads to
-- (INVALID_ARGUMENT), which counts where there are both (the token's), and all timing (none).
--
-- @module wgtwo.sandbox.webterminal

local core = require "wgtwo.core"
local numbers = require "wgtwo.sandbox.numbers"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local webterminal = {}

local SERVICE <const> = "wgtwo.webterminal.v0.WebTerminalService/"
local UUID <const> = "^%x%x%x%x%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%-%x%x%x%x%x%x%x%x%x%x%x%x$"

local message_type = schema.type("wgtwo.webterminal.v0.WebTerminalMessage")

local function send(exchange, call_id, message)
  message.call_id = call_id
  exchange:send(core.encode(message_type, message))
end

--- The other end's session description.
local function turn_round(sdp)
  return (sdp:gsub("a=setup:actpass", "a=setup:active"):gsub("^$", "v=0\r\n"))
end

local reactions = {}

function reactions.offer(exchange, calls, id, message)
  local peer = message.offer.msisdn and message.offer.msisdn.e164 or ""
  calls[id] = peer
  send(exchange, id, { ringing = {} })
  send(exchange, id, { answer = { sdp = turn_round(message.offer.sdp) } })
  send(exchange, id, { in_call = { msisdn = { e164 = peer } } })
end

function reactions.bye(exchange, calls, id)
  calls[id] = nil
  send(exchange, id, { idle = {} })
end

function reactions.action(exchange, calls, id)
  if not calls[id] then return send(exchange, id, { error = { err = "NOT_INCALL" } }) end
  calls[id] = nil -- the call goes on on the phone
  send(exchange, id, { idle = {} })
end

local function open(multiple)
  return function(sandbox, exchange)
    local msisdn = exchange.user and exchange.user.number or exchange.call:metadata("wg2-msisdn")
    if not msisdn or not numbers.is_e164("+" .. msisdn:gsub("^%+", "")) then
      return nil, status.invalid("wg2-msisdn", "the metadata must hold the subscriber's number")
    end
    local calls = {} -- call id → the number it is with
    exchange:on_message(function(_, stream, message)
      local id = message.call_id
      if multiple and not id:find(UUID) then return send(stream, id, { error = { err = "INVALID_CALL_ID" } }) end
      local react = reactions[core.which(message, "message")]
      if react then react(stream, calls, id, message) end
    end, function(_, stream) stream:finish() end)
    exchange:send_headers()
    if not multiple then send(exchange, nil, { idle = {} }) end
    return sandbox
  end
end

--- Adds the service to the sandbox.
-- @tparam table sandbox the server
function webterminal.register(sandbox)
  sandbox:serve(SERVICE .. "Pipe", { bidi = open(false) })
  sandbox:serve(SERVICE .. "MultiPipe", { bidi = open(true) })
end

return webterminal
