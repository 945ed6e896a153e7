-- Calls any method by its name, with JSON in and JSON out.
--
--   lua5.4 examples/call_any_method.lua [METHOD [JSON]]
--   lua5.4 examples/call_any_method.lua GetConsentsForSubscription '{"phoneNumber":{"e164":"+4799990001"}}'
--
-- METHOD is pkg.Service/Method, or an ending that only one method has. "list" lists all methods.
-- Runs against a sandbox that it starts itself; against the one that WGTWO_SANDBOX names; or against the platform with
-- CLIENT_ID, CLIENT_SECRET and WGTWO_ENV.

local wgtwo = require "wgtwo"

io.stdout:setvbuf("line")
local name, json = table.unpack(arg or {}, 1, 2)
if not name then name, json = "GetConsentsForSubscription", '{"phoneNumber":{"e164":"+4799990001"}}' end

if name == "list" then
  for _, method in ipairs(wgtwo.schema.methods()) do
    print(("%-80s %s"):format(method.name, method.scope or ""))
  end
  return
end

local function is_set(variable) return (os.getenv(variable) or "") ~= "" end

local options, sandbox
if not (is_set("WGTWO_ENV") or is_set("WGTWO_SANDBOX") or is_set("CLIENT_ID") or is_set("WGTWO_CLIENT_ID")) then
  sandbox = assert(wgtwo.sandbox.start{})
  options = sandbox:client()
end
local client <close> = assert(wgtwo.connect(options))

-- What is typed wrongly is told in one line, and ends the script.
local function checked(ok, result, err)
  if ok and result then return result end
  io.stderr:write(tostring(err or result), "\n")
  if sandbox then sandbox:close() end
  os.exit(1, true)
end

local method = checked(pcall(wgtwo.schema.resolve, name))
local request = checked(true, wgtwo.message.fromjson(method.input, json or "{}"))
print(method.name .. (method.scope and (" needs the scope " .. method.scope) or ""))

local failure
if method.kind == "unary" then
  local reply, err = client:call(method.name, request, { timeout = 10 })
  if reply then print(wgtwo.message.tojson(reply, { indent = 2 })) end
  failure = err
else
  -- a stream: what comes, until nothing has come for five seconds; Ctrl-C ends
  local stream <close> = checked(true, client:stream(method.name, method.kind == "server" and request or nil))
  local ok, err = pcall(function()
    while true do
      local message, err = stream:read(5)
      if not message then return err end
      print(wgtwo.message.tojson(message))
    end
  end)
  if not ok and not tostring(err):find("interrupted!", 1, true) then error(err, 0) end
  if ok and err and err.kind == "timeout" then
    print("nothing came for five seconds")
  else
    failure = ok and err or nil
  end
end

if failure then print(failure) end
client:close()
if sandbox then sandbox:close() end
os.exit(failure and 1 or 0, true)
