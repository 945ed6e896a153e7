-- What the sandbox's specs have in common: a sandbox, clients of it, streams that are known to be open.

local assert = require("luassert")
local core = require("wgtwo.core")
local loop = require("wgtwo.loop")
local patience = require("spec.support.patience")
local wgtwo = require("wgtwo")

local support = {}

--- Starts a sandbox.
function support.start(options)
  return assert(wgtwo.sandbox.start(options))
end

--- A client without a token, or with one for these scopes.
-- @tparam sandbox sandbox
-- @tparam[opt] table scopes
-- @tparam[opt] string id of the OAuth client, default "id"
-- @tparam[opt] string secret
function support.connect(sandbox, scopes, id, secret)
  local options = sandbox:client(false)
  if scopes then
    options.auth = wgtwo.oauth.client_credentials{ client_id = id or "id", client_secret = secret or "secret",
      scopes = scopes, token_url = sandbox.url .. "/oauth2/token" }
  end
  return assert(wgtwo.connect(options))
end

--- Starts a sandbox with a client of it, as `start` and `connect` do.
function support.start_with_client(options, scopes)
  local sandbox = support.start(options)
  return sandbox, support.connect(sandbox, scopes)
end

--- Ends both.
function support.close(sandbox, client)
  client:close()
  sandbox:close()
end

--- Waits until `condition()` is true.
function support.until_(condition, what)
  local deadline = core.now() + patience.limit
  while true do
    local results = table.pack(condition())
    if results[1] then return table.unpack(results, 1, results.n) end
    if core.now() > deadline then error(what .. " did not happen", 2) end
    loop.sleep(0.002)
  end
end

--- Opens a stream and waits until the sandbox has it.
function support.open(sandbox, client, method, request, options)
  local function newest() -- streams are listed by id, which only grows
    local streams = assert(sandbox:streams())
    return streams[1] and streams[#streams].id or 0
  end
  local before = newest()
  local stream = assert(client:stream(method, request, options))
  support.until_(function() return newest() > before end, "the opening of the stream " .. method)
  return stream
end

--- The next message of a stream.
function support.read(stream)
  local message, err = stream:read(patience.limit)
  if not message then error("no message: " .. tostring(err or "the stream has ended"), 2) end
  return message
end

--- How a stream ended: the code, "OK" for a clean end; messages before that are passed over.
function support.ending(stream)
  local message, err
  repeat message, err = stream:read(patience.limit) until not message
  return err and err.code or "OK", err
end

--- Checks that nothing more has come. What the sandbox did before its last answer to this process has arrived by then,
-- or is on its way on the same machine.
function support.quiet(sandbox, stream)
  assert.is_table(sandbox:streams())
  local message, err = stream:read(0.05)
  assert.is_nil(message, "a message came")
  assert.equal("timeout", err and err.kind or "the stream has ended")
end

--- The count of deliveries and acknowledgements of an event.
function support.counts(sandbox, id)
  for _, event in ipairs(assert(sandbox:events())) do
    if event.id == id then return event.deliveries, event.acks end
  end
end

--- One HTTP request.
-- @treturn table status, headers, body, and json where it is some
function support.http(options)
  local op <close> = assert(core.http(options))
  local response, reason = op:take()
  while response == false do
    loop.wait(op)
    response, reason = op:take()
  end
  if not response then error(reason, 2) end
  response.json = core.json_decode(response.body)
  return response
end

--- One form sent to the sandbox.
function support.post(sandbox, path, form, options)
  local words = {}
  for name, value in pairs(form) do
    words[#words + 1] = name .. "=" .. value:gsub("[^%w%-%._~]", function(c) return ("%%%02X"):format(c:byte()) end)
  end
  local all = { method = "POST", url = sandbox.url .. path, body = table.concat(words, "&"),
    headers = { "Content-Type: application/x-www-form-urlencoded" } }
  for name, value in pairs(options or {}) do all[name] = value end
  return support.http(all)
end

return support
