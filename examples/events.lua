-- Events for ever: the guide's sample, done right. It reconnects by itself, acknowledges what it has handled, and ends
-- well with Ctrl-C.
--
--   lua5.4 examples/events.lua [COUNT]        COUNT: end after so many events
--
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID, CLIENT_SECRET and WGTWO_ENV.

local wgtwo = require "wgtwo"

io.stdout:setvbuf("line")
local count = tonumber(arg and arg[1] or math.huge)
if not count or count < 1 then
  io.stderr:write("COUNT is a number, 1 or more, not ", arg[1], "\n")
  os.exit(1)
end

local function is_set(variable) return (os.getenv(variable) or "") ~= "" end

local options, sandbox
if not (is_set("WGTWO_ENV") or is_set("WGTWO_SANDBOX") or is_set("CLIENT_ID") or is_set("WGTWO_CLIENT_ID")) then
  sandbox = assert(wgtwo.sandbox.start{ generate = { types = { "SMS_EVENT" }, rate = 5 } })
  options = sandbox:client()
end
local client <close> = assert(wgtwo.connect(options))

local function handle(event)
  print(("%s %s of %s: %s"):format(os.date("!%FT%TZ", math.floor(event.timestamp)), event.type, event.number or "?",
    event.sms_event.text or "(no text)"))
end

local events, handled = nil, 0
local ok, err = pcall(function()
  print(("waiting for SMS_EVENT at %s; Ctrl-C ends"):format(client.target))
  events = client:events{
    types = { "SMS_EVENT" },
    queue = "example",       -- shared by all who name it; the position survives a restart
    max_in_flight = 50,      -- no more than this unacknowledged
    ack_timeout = 30,        -- not acknowledged by then: it comes again
  }
  for event in events do
    handle(event)            -- an error in here ends the loop: the event was not acknowledged, so it comes again
    event:ack()
    handled = handled + 1
    if handled >= count then break end
  end
end)

-- Ctrl-C raises "interrupted!" where the script waits. What was acknowledged is still sent.
if events then events:close() end
client:close()
if sandbox then sandbox:close() end
if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
if events then
  local stats = events:stats()
  print(("%d events received, %d acknowledged, %d reconnects"):format(stats.received, stats.acked, stats.reconnects))
end
