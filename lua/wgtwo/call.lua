--- One call with one answer, and what calls of every kind share.
--
-- A call has a deadline, which the wait for its token counts against. When the server answers UNAUTHENTICATED it is
-- made once more with a new token: a server that knew no caller has done nothing.
--
-- @module wgtwo.call

local authorization = require "wgtwo.authorization"
local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local metadata = require "wgtwo.metadata"
local options = require "wgtwo.options"

local call = {}

local UNAVAILABLE, UNAUTHENTICATED = errors.number("UNAVAILABLE"), errors.number("UNAUTHENTICATED")

local spec = {
  timeout = { type = "number", or_false = true, above = 0, max = limits.timeout_max, unit = "seconds" },
  metadata = metadata.rule,
  scope = { type = { "string", "list" }, of = { type = "string", nonempty = true } },
  wait_for_ready = { type = "boolean" },
  max_message_size = { type = "integer", min = 1, max = 0x7FFFFFFF, unit = "bytes" },
}

local none = {}

--- Checks the options of one call.
-- @tparam string where the public function
-- @tparam ?table given
-- @tparam[opt=2] int level as for `wgtwo.options.check`
-- @treturn table checked; `metadata` as a list
function call.options(where, given, level)
  if given == nil then return none end
  local o = options.check(where, given, spec, (level or 2) + 1)
  if o.metadata then o.metadata = metadata.list(o.metadata) end
  return o
end

--- A request as bytes. Raises on misuse, at the line of the script.
-- @tparam userdata kind the request's type
-- @tparam table|userdata request
-- @tparam int level as for `error`
-- @treturn string
function call.encode(kind, request, level)
  local ok, bytes = pcall(core.encode, kind, request)
  if ok then return bytes end
  error((tostring(bytes):gsub("^bad argument #%d+ to '[^']*' %((.*)%)$", "%1")), level + 1)
end

--- The error of a call that failed.
-- @tparam table client
-- @tparam table method
-- @tparam table status of the core
-- @treturn wgtwo.error
function call.failure(client, method, status)
  if client.closed then
    return errors.closed("the client was closed during the call", { method = method.name, target = client.target })
  end
  local info = { method = method.name, target = client.target, scope = method.scope, schema = client.schema }
  if status.code == UNAVAILABLE then info.message, info.hint = client:explain(status) end
  if status.code == UNAUTHENTICATED and not client.auth then
    info.hint = "no token was sent: give auth, or set CLIENT_ID and CLIENT_SECRET"
  end
  return errors.rpc(status, info)
end

--- Whether a call that failed so is worth a new token: forgets the old one, and says whether there may be another.
-- @tparam table client
-- @tparam table status of the core
-- @tparam ?table token that the call had
-- @treturn boolean
function call.wants_new_token(client, status, token)
  local source = client.auth
  if status.code ~= UNAUTHENTICATED or not token or not source or not source.invalidate then return false end
  source:invalidate(token.access_token)
  return source.peek == nil or source:peek() ~= token
end

--- The error of a client that was closed before.
-- @tparam table client
-- @tparam table method
-- @treturn nil
-- @treturn wgtwo.error
function call.closed(client, method)
  return nil, errors.closed("the client is closed", { method = method.name, target = client.target })
end

--- Runs one attempt to its end: the reply, or nil, an error where the reply is broken, and the status.
local function attempt(client, method, bytes, list, o, deadline, track)
  local left
  if deadline then
    left = deadline - core.now()
    if left <= 0 then return nil, nil, { code = errors.number("DEADLINE_EXCEEDED"), sent = false } end
  end
  local channel, err = client:channel_for(o.max_message_size)
  if not channel then return nil, err end
  local op <close> = core.call(channel, { path = method.path, kind = "unary", request = bytes, reply = method.output,
    metadata = list, timeout = left, wait_for_ready = o.wait_for_ready, track = track })
  client.running[op] = channel
  local reply, problem, reason = loop.result(op)
  client.running[op] = nil
  if reply then return reply end
  if problem then return nil, call.undecodable(client, method, reason), { code = 13, sent = true } end
  return nil, nil, op:status()
end

--- The error of a reply that is none of its type.
-- @tparam table client
-- @tparam table method
-- @tparam string reason
-- @treturn wgtwo.error
function call.undecodable(client, method, reason)
  return errors.rpc({ code = errors.number("INTERNAL"), message = "the reply cannot be read: " .. reason },
    { method = method.name, target = client.target, hint = "is the target what it should be?" })
end

--- Whether doing it twice does more than doing it once. The API's definitions have no mark for that; the names tell.
local function adds(method)
  local name = method.name:match("[^/.]*$")
  if name:find("^CreateOrUpdate") then return false end
  return name:find("^Send") ~= nil or name:find("^Create") ~= nil or name:find("^Copy") ~= nil
end

local tracked = setmetatable({}, { __mode = "k", __index = function(known, method)
  known[method] = adds(method)
  return known[method]
end })

-- Statuses by which a server refuses a request before it acts on it.
local refusals = {
  INVALID_ARGUMENT = true, NOT_FOUND = true, PERMISSION_DENIED = true, UNAUTHENTICATED = true, UNIMPLEMENTED = true,
  RESOURCE_EXHAUSTED = true, FAILED_PRECONDITION = true, OUT_OF_RANGE = true,
}

--- What became of a request whose call failed. `status`: nil where there was no call.
local function outcome(err, status)
  if not status then return "not_sent" end -- no token, or a closed client
  local too_large = err.message:find("larger than max", 1, true) -- a reply, perhaps: then it was done
  if refusals[err.code] and not too_large then return "rejected" end
  return status.sent == false and "not_sent" or "unknown"
end

local function run(client, method, bytes, o, track)
  if client.closed then return call.closed(client, method) end
  local counts = client.counts
  counts.calls = counts.calls + 1
  local timeout = o.timeout
  if timeout == nil then timeout = client.timeout end
  local deadline = timeout and core.now() + timeout
  local scopes = authorization.scopes(client, o.scope, method.scope)
  local renewed = false
  while true do
    local list, token = authorization.metadata(client, scopes, o.metadata, deadline)
    local reply, err, status
    if not list then
      err = token
    elseif client.closed then
      return call.closed(client, method)
    else
      reply, err, status = attempt(client, method, bytes, list, o, deadline, track)
      if reply then return reply end
    end
    if err or renewed or not call.wants_new_token(client, status, token) then
      counts.failed = counts.failed + 1
      return nil, err or call.failure(client, method, status), status
    end
    renewed = true
  end
end

--- Makes a call with one answer. Where doing it twice does more than doing it once, the error says what became of the
-- request (`outcome`), and what may have been done is not to be tried again.
-- @tparam table client
-- @tparam table method of the schema
-- @tparam string bytes the request
-- @tparam table o of `call.options`
-- @treturn ?userdata the reply
-- @treturn ?wgtwo.error
function call.unary(client, method, bytes, o)
  local track = tracked[method]
  local reply, err, status = run(client, method, bytes, o, track)
  if err and track then
    err.outcome = outcome(err, status)
    if err.outcome == "unknown" then err.retryable = false end
  end
  return reply, err
end

return call
