--- `wgtwo.lookup.v0.NumberLookupService`: the server asks who a number is, the client answers.
--
-- Two questions are open at a time, so that answers may come in another order; the next comes a second after an answer.
-- An answer has to echo its question whole. Undocumented, so chosen here: what a wrong answer leads to (the stream ends
-- with INVALID_ARGUMENT), and that an error is a valid answer. What was answered is in the admin API
-- (`/admin/lookups`).
--
-- @module wgtwo.sandbox.lookup

local core = require "wgtwo.core"
local clock = require "wgtwo.sandbox.clock"
local limits = require "wgtwo.limits"
local schema = require "wgtwo.schema"
local status = require "wgtwo.sandbox.status"

local lookup = {}

local METHOD <const> = "wgtwo.lookup.v0.NumberLookupService/NumberLookup"
local OPEN <const>, PAUSE <const>, REMEMBERED <const> = 2, 1, 1000

local question_type = schema.type("wgtwo.lookup.v0.NumberLookupRequest")

local function ask(sandbox, stream, number, recipient)
  local r = sandbox.ids
  local question = { id = r:uuid(), number = { e164 = number or "+46700" .. r:digits(6) },
    recipient = { e164 = recipient or r:pick(sandbox:pool(stream.exchange.client)) } }
  stream.open[question.id] = question
  stream.exchange:send(core.encode(question_type, question))
  return question.id
end

local function remember(sandbox, answer)
  table.insert(sandbox.lookups, answer)
  if #sandbox.lookups > REMEMBERED then table.remove(sandbox.lookups, 1) end
end

--- What is wrong with the question that an answer echoes, as a status.
local function check(question, echoed)
  if not question then return status.invalid("number_lookup_request.id", "is not that of an open question") end
  if not echoed.number or echoed.number.e164 ~= question.number.e164 then
    return status.invalid("number_lookup_request.number", "is not that of the question")
  end
  if not echoed.recipient or echoed.recipient.e164 ~= question.recipient.e164 then
    return status.invalid("number_lookup_request.recipient", "is not that of the question")
  end
end

local function answered(sandbox, exchange, message)
  local stream = sandbox.lookup_streams[exchange]
  local echoed = message.number_lookup_request
  local question = stream.open[echoed.id]
  local wrong = check(question, echoed)
  if wrong then return nil, wrong end
  stream.open[echoed.id] = nil
  local age = message.cache_control and message.cache_control.max_age
  remember(sandbox, { id = echoed.id, number = question.number.e164, recipient = question.recipient.e164,
    client = exchange.client, name = message.result and message.result.name, error = message.error and
    message.error.message, max_age = age and clock.seconds(age) or limits.lookup.max_age.default })
  exchange:after(PAUSE, function() ask(sandbox, stream) end)
end

local function open(sandbox, exchange)
  local stream = { exchange = exchange, open = {} }
  sandbox.lookup_streams[exchange] = stream
  exchange:on_close(function() sandbox.lookup_streams[exchange] = nil end)
  exchange:on_message(answered, function(_, ended) ended:finish() end)
  exchange:send_headers()
  for _ = 1, OPEN do ask(sandbox, stream) end
end

--- Asks a question on one open stream.
-- @treturn ?string its id
-- @treturn ?string why not
function lookup.ask(sandbox, number, recipient)
  local _, stream = next(sandbox.lookup_streams)
  if not stream then return nil, "no client has an open NumberLookup stream" end
  return ask(sandbox, stream, number, recipient)
end

--- Adds the service to the sandbox.
-- @tparam table sandbox the server
function lookup.register(sandbox)
  sandbox.lookups, sandbox.lookup_streams = {}, {}
  sandbox:serve(METHOD, { bidi = open })
end

return lookup
