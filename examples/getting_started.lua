-- Getting started: a token, events over TLS, an acknowledgement for each, and an SMS that comes back as an event.
--
--   lua5.4 examples/getting_started.lua
--
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID, CLIENT_SECRET and WGTWO_ENV. There, SUBSCRIBER is the number that the SMS goes to.

local wgtwo = require "wgtwo"

io.stdout:setvbuf("line")
local step = 0
local function explain(text, ...)
  step = step + 1
  print(("\n%d. %s"):format(step, text:format(...)))
end
local function show(text, ...)
  print("   " .. text:format(...))
end

-- Where to -----------------------------------------------------------------------------------------------------------

local function variable(name)
  local value = os.getenv(name)
  if value ~= "" then return value end
end

local own = not (variable("WGTWO_ENV") or variable("WGTWO_SANDBOX") or variable("CLIENT_ID")
  or variable("WGTWO_CLIENT_ID"))
local sandbox, options = nil, nil
if own then
  explain("A sandbox stands in for the platform: no account, no network.")
  sandbox = assert(wgtwo.sandbox.start{ clients = { { id = "demo", secret = "demo-secret", scopes = {
    "events.sms.subscribe", "events.sms_delivery_report.subscribe", "sms.text:send_to_subscriber",
  } } } })
  options = sandbox:client()
  show("gRPC over TLS at %s, OAuth at %s, process %d", sandbox.target, sandbox.url, sandbox.pid)
end

explain("A client connects with TLS, and checks the server's certificate.")
local client <close> = assert(wgtwo.connect(options))
show("%s", client)

-- A token ------------------------------------------------------------------------------------------------------------

explain("A token is fetched with the client's id and secret. The client does this by itself; here it is by hand.")
if client.auth then
  local token = assert(client.auth:token{ "events.sms.subscribe", "events.sms_delivery_report.subscribe" })
  show('a %s token for "%s", for %d s (its text is never shown)', token.token_type, token.scope or "?",
    token.expires_in or 0)
else
  show("left out: there is none without CLIENT_ID and CLIENT_SECRET, and a sandbox asks for none unless it is strict")
end

-- Events -------------------------------------------------------------------------------------------------------------

explain("Events: a queue shares them among its members, and keeps its position when they are gone.")
local events <close> = client:events{
  types = { "SMS_EVENT", "SMS_DELIVERY_REPORT_EVENT" }, queue = "getting-started", max_in_flight = 50, ack_timeout = 30,
  start = "oldest", -- only where the queue has no position yet
}
show("subscribed: %s", events)
if sandbox then
  for i = 1, 3 do
    assert(sandbox:publish{ type = "SMS_EVENT", number = "+479999000" .. i, payload = { text = "event no. " .. i } })
  end
end

--- Handles events until `enough(event)`, or none came for some time.
local function handle(enough, seconds)
  while true do
    local event, err = events:next(seconds)
    if not event then
      show("no more events: %s", err or "the end")
      return false
    end
    local sms = event.payload
    if event.type == "SMS_EVENT" then
      show('SMS_EVENT of %s: "%s"%s', event.number, sms.text, event.is_redelivered and " (came before)" or "")
    else
      show("SMS_DELIVERY_REPORT_EVENT of %s: %s", event.number, sms.status)
    end
    event:ack() -- returns at once; what fails is tried again in the background
    if enough(event) then return true end
  end
end

local count = 0
handle(function()
  count = count + 1
  return count == 3
end, 5)
if count > 0 then show("each of them was acknowledged: else it would come again after 30 s") end

-- An SMS -------------------------------------------------------------------------------------------------------------

explain("An SMS is sent, and comes back as an event and a delivery report.")
local subscriber = variable("SUBSCRIBER") or (client.env == nil or client.env == "local" or client.env == "sandbox")
  and "+4799990001"
if subscriber then
  local text = "Hello from Lua, " .. os.date("%H:%M:%S")
  local size = wgtwo.sms.fragments(text)
  show('"%s" is %d characters in %s: %d SMS', text, size.characters, size.encoding, size.fragments)
  local reply = assert(client.sms:send_text_to_subscriber{
    content = text, to_subscriber = subscriber, from_address = "Demo", delivery_deadline = 3600,
  })
  show("sent: %s, message_id %s", reply.status, reply.message_id)
  local seen, reported = false, false
  handle(function(event)
    if event.type == "SMS_EVENT" then seen = seen or event.sms_event.text == text else reported = true end
    return seen and reported
  end, 5)
else
  show("left out: SUBSCRIBER=+47… says to which number")
end

-- The end ------------------------------------------------------------------------------------------------------------

explain("Closing sends the acknowledgements that are still to be sent.")
assert(events:close())
local stats = events:stats()
show("%d events received, %d acknowledged, %d failed, %d reconnects", stats.received, stats.acked, stats.ack_failed,
  stats.reconnects)
client:close()
if sandbox then sandbox:close() end
print("\nNext: examples/events.lua, examples/send_sms.lua, and the README.")
