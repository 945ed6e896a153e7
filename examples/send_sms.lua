-- Sends an SMS to a subscriber.
--
--   lua5.4 examples/send_sms.lua [NUMBER [TEXT [SENDER]]]
--
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID, CLIENT_SECRET and WGTWO_ENV.

local wgtwo = require "wgtwo"

local number, text, sender = table.unpack(arg or {}, 1, 3)
number, text, sender = number or "+4799990001", text or "Your parcel has arrived", sender or "Shop"

local function is_set(variable) return (os.getenv(variable) or "") ~= "" end

local options, sandbox
if not (is_set("WGTWO_ENV") or is_set("WGTWO_SANDBOX") or is_set("CLIENT_ID") or is_set("WGTWO_CLIENT_ID")) then
  sandbox = assert(wgtwo.sandbox.start{})
  options = sandbox:client()
end
local client <close> = assert(wgtwo.connect(options))

local size = wgtwo.sms.fragments(text) -- none where the text cannot be sent: what is wrong is said below
if size then print(("%d characters in %s: %d SMS"):format(size.characters, size.encoding, size.fragments)) end

local reply, err = client.sms:send_text_to_subscriber{
  content = text, to_subscriber = number, from_address = sender,
  delivery_deadline = 3600, -- seconds: after that it is not worth delivering any more
}

if reply then
  print("sent: " .. reply.message_id)
elseif err.outcome == "unknown" then
  print("it may have been sent, so don't send it again without asking: " .. err)
elseif err.retryable then
  print("not sent, and worth another try: " .. err)
else
  print("not sent: " .. err)
end

client:close()
if sandbox then sandbox:close() end
os.exit(reply and 0 or 1, true)
