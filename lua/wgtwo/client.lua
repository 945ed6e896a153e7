--- The client: a connection to the API, with its tokens.
--
--     local client <close> = assert(wgtwo.connect{ env = "sandbox" })
--     local reply, err = client:call("SmsService/SendTextToSubscriber", { … }, { timeout = 5 })
--
-- It connects at the first call. Calls may be made from any number of coroutines at once; in tasks of the scheduler
-- they yield, elsewhere they block.
--
-- @module wgtwo.client

local authorization = require "wgtwo.authorization"
local call = require "wgtwo.call"
local errors = require "wgtwo.error"
local limits = require "wgtwo.limits"
local loop = require "wgtwo.loop"
local metadata = require "wgtwo.metadata"
local oauth = require "wgtwo.oauth"
local options = require "wgtwo.options"
local receiver = require "wgtwo.receiver"
local schema = require "wgtwo.schema"
local stream = require "wgtwo.stream"
local target = require "wgtwo.target"
local core = require "wgtwo.core"

local Client = { __name = "wgtwo.client" }
Client.__index = Client

local M = {}

local text = { type = "string", nonempty = true }
local seconds = { type = "number", above = 0, max = limits.timeout_max, unit = "seconds" }
local function default(rule, value)
  local copy = { default = value }
  for key, setting in pairs(rule) do copy[key] = setting end
  return copy
end

local spec = {
  env = { type = "string", one_of = limits.environments },
  target = { type = "string", nonempty = true, check = target.check },
  auth = { check = function(source)
    if source == false then return true end
    if type(source) == "string" then return false, "for a token from elsewhere give wgtwo.oauth.static(token)" end
    local ok, method = pcall(function() return source.token end)
    return ok and method ~= nil, "a token source is needed, such as wgtwo.oauth.client_credentials{ … }, or false"
  end },
  tls = { type = "table", fields = {
    ca_file = text, cert_file = text, key_file = text, server_name = text, insecure_skip_verify = { type = "boolean" },
  } },
  plaintext = { type = "boolean", default = false },
  metadata = metadata.rule,
  timeout = { type = "number", or_false = true, above = 0, max = limits.timeout_max, unit = "seconds",
    default = limits.timeout },
  max_message_size = { type = "integer", min = 1, max = 0x7FFFFFFF, unit = "bytes", default = limits.max_message_size },
  keepalive = { type = "table", or_false = true, fill = true, fields = {
    time = default(seconds, limits.keepalive.time), timeout = default(seconds, limits.keepalive.timeout),
    without_calls = { type = "boolean", default = limits.keepalive.without_calls },
  } },
  connect_timeout = default(seconds, limits.connect_timeout),
  user_agent = { type = "string", nonempty = true, default = "wgtwo-lua/0.1.0", check = function(value)
    return not value:find("[^\32-\126]"), "printable ASCII is needed"
  end },
  logger = { type = "callable", or_false = true },
}

--- Where warnings go unless the script has a logger.
local function log_to_stderr(level, message)
  if level == "warn" or level == "error" then io.stderr:write("wgtwo: ", message, "\n") end
end

--- The source that the environment's variables give; nil where they are not set.
local function default_source(settings)
  local id, id_name = target.variable(limits.variables.client_id)
  local secret, secret_name = target.variable(limits.variables.client_secret)
  if not id or not secret then
    local set = id_name or secret_name
    return nil, set and errors.new{ kind = "oauth", code = "incomplete", retryable = false,
      message = set .. " is set, but not its partner: a client has an id and a secret",
      hint = "set CLIENT_ID and CLIENT_SECRET both, or connect with auth = false" }
  end
  return oauth.client_credentials{ client_id = id, client_secret = secret, token_url = settings.token_url }
end

local function check_consistency(o, level)
  local tls = o.tls or {}
  if (tls.cert_file == nil) ~= (tls.key_file == nil) then
    error("wgtwo.connect: tls.cert_file and tls.key_file come together", level + 1)
  end
  if o.plaintext and next(tls) then
    error("wgtwo.connect: with plaintext = true there is no use for tls", level + 1)
  end
end

--- Makes a client.
--
-- @tparam ?table given options:
--
--   * `env`: "local", "sandbox", "eu", "us", "sakura" or "production"; default WGTWO_ENV, else "local" where
--     WGTWO_SANDBOX is set, else "sandbox"
--   * `target`: "host:port" instead of the environment's
--   * `auth`: a token source (`wgtwo.oauth`); default: WGTWO_CLIENT_ID and WGTWO_CLIENT_SECRET, or CLIENT_ID and
--     CLIENT_SECRET, where both are set; false: no token
--   * `tls`: `ca_file` (PEM, instead of the system's authorities), `cert_file` and `key_file` (PEM, this client's own),
--     `server_name` (the name to check the certificate for), `insecure_skip_verify`
--   * `plaintext`: no TLS; a token is then sent to this machine only
--   * `metadata`: for every call; `timeout` of calls with one answer (10 s; false: none); `max_message_size` of what is
--     received (4 MiB); `connect_timeout` (5 s); `keepalive`: `{ time = 65, timeout = 10, without_calls = true }`, or
--     false; `user_agent`
--   * `logger`: `function(level, message, fields)`, level being "debug", "info", "warn" or "error"; default: warnings
--     and errors go to standard error; false: nothing is logged
-- @treturn ?client
-- @treturn ?wgtwo.error where the environment, its certificates or its tokens cannot be used
-- @raise on misuse: an unknown option, a value of the wrong type
-- @usage local client <close> = assert(wgtwo.connect{ env = "eu" })
function M.connect(given)
  local o = options.check("wgtwo.connect", given, spec)
  check_consistency(o, 2)
  local settings, err = target.resolve(o)
  if not settings then return nil, err end
  local source = o.auth
  if source == nil then
    source, err = default_source(settings)
    if err then return nil, err end
  end
  local client = setmetatable({
    target = settings.target, env = settings.env, auth = source or nil, metadata = metadata.list(o.metadata),
    timeout = o.timeout, logger = o.logger == nil and log_to_stderr or o.logger, schema = schema.default(),
    insecure = settings.plaintext and not settings.loopback, settings = settings, options = o, closed = false,
    channels = {}, connecting_since = {}, -- by the size of the largest message
    with_token = setmetatable({}, { __mode = "k" }), -- token → list of metadata
    running = setmetatable({}, { __mode = "k" }), -- call → its channel
    subscriptions = setmetatable({}, { __mode = "k" }),
    counts = { calls = 0, failed = 0, streams = 0, subscriptions = 0 },
  }, Client)
  if client.insecure and (client.auth or metadata.has(client.metadata, "authorization")) then
    return authorization.refuse_plaintext(client.target)
  end
  local channel
  channel, err = client:channel_for(nil)
  if not channel then return nil, err end
  local sms = require "wgtwo.sms"
  client.sms, client.sms_v0 = sms.service(client, "v1"), sms.service(client, "v0")
  return client
end

local function is_used(self, channel)
  for _, used in pairs(self.running) do
    if used == channel then return true end
  end
  return false
end

--- Whether a channel that failed to connect is to be replaced. A channel in its own backoff would give its last error
-- again, for up to 30 s; a new one connects. Calls do not make that happen more than once in a while; a caller with a
-- backoff of its own may.
local function is_worn_out(self, channel, size, patient)
  return channel:state() == "TRANSIENT_FAILURE"
    and (patient or core.now() - self.connecting_since[size] >= limits.reconnect_backoff.initial)
end

--- A sandbox that was started again has another certificate, maybe other ports: where WGTWO_SANDBOX names it, they are
-- found there. May wait.
local function look_again(self)
  if self.env ~= "local" then return end
  local settings = target.resolve(self.options)
  if not settings or settings.plaintext and not settings.loopback then return end
  self.settings, self.target = settings, settings.target
end

--- The channel for messages of some size: the usual one, or one with a limit of its own.
-- @tparam ?int max_message_size bytes; nil: the client's
-- @tparam ?boolean patient the caller waits between its attempts
-- @treturn ?userdata whoever has a call on it keeps it in `running`
-- @treturn ?wgtwo.error
-- @local
function Client:channel_for(max_message_size, patient)
  if self.closed then return nil, errors.closed("the client is closed", { target = self.target }) end
  local size = max_message_size or self.options.max_message_size
  local channel, err = self.channels[size], nil
  if channel and is_worn_out(self, channel, size, patient) then
    look_again(self)
    if self.closed or self.channels[size] ~= channel then return self:channel_for(max_message_size, patient) end
    if not is_used(self, channel) then channel:close() end
    channel = nil
  end
  if not channel then
    channel, err = target.channel(self.options, self.settings, size)
    self.channels[size], self.connecting_since[size] = channel, core.now()
  end
  return channel, err
end

--- What is wrong with the connection, where a call failed for that. It may wait for a second.
-- @tparam table status of the core
-- @treturn ?string message
-- @treturn ?string hint
-- @local
function Client:explain(status)
  return require("wgtwo.diagnosis").explain(self.target, self.settings, status)
end

--- Tells the logger. A fault in it does not stop what goes on.
-- @local
function Client:log(level, message, fields)
  local logger = self.logger
  if not logger then return end
  local ok, err = pcall(logger, level, errors.redact(message), fields or {})
  if not ok then io.stderr:write("wgtwo: the logger failed: ", tostring(err), "\n") end
end

--- Makes a call with one answer.
-- @tparam string name `pkg.Service/Method`, `pkg.Service.Method`, or an ending that only one method has
-- @tparam ?table|message request default: empty
-- @tparam ?table o `timeout` (seconds, false: none), `metadata` (a table), `scope` (a string or list, instead of
--   the method's), `wait_for_ready` (wait for a connection instead of failing), `max_message_size` (bytes; another
--   one than the client's has a connection of its own)
-- @treturn ?message the reply
-- @treturn ?wgtwo.error of kind "rpc", "oauth" or "closed"
-- @raise on misuse: an unknown method, field or option; a method that streams
-- @usage local reply, err = client:call("GetConsentsForSubscription", { phone_number = { e164 = "+4799990001" } })
function Client:call(name, request, o)
  local method = schema.resolve(name, 3)
  if method.kind ~= "unary" then
    error(("%s is a stream: use client:stream"):format(method.name), 2)
  end
  o = call.options("client:call", o)
  local reply, err = call.unary(self, method, call.encode(method.input, request or {}, 2), o)
  return reply, err
end

--- Opens a stream.
-- @tparam string name as for `call`
-- @tparam ?table|message request where the method takes just one; nil where requests are written
-- @tparam ?table o as for `call`; there is no timeout unless it is given, and it is for the whole stream
-- @treturn ?stream see `wgtwo.stream`
-- @treturn ?wgtwo.error where there is no token, or the client is closed; what fails later comes from `stream:read`
-- @raise on misuse
-- @usage local stream <close> = assert(client:stream("NumberLookupService/NumberLookup"))
function Client:stream(name, request, o)
  local method = schema.resolve(name, 3)
  o = call.options("client:stream", o)
  local bytes
  if method.kind == "unary" then
    error(("%s is no stream: use client:call"):format(method.name), 2)
  elseif method.kind == "server" then
    bytes = call.encode(method.input, request or {}, 2)
  elseif request ~= nil then
    error(("%s takes its requests through stream:write: give nil here"):format(method.name), 2)
  end
  self.counts.streams = self.counts.streams + 1
  return stream.open(self, method, bytes, o)
end

--- Subscribes to events. See `wgtwo.events`.
-- @tparam table o
-- @return what a `for` takes: the subscription, nil, nil, and the subscription to close
-- @usage for event in client:events{ types = { "SMS_EVENT" }, queue = "billing" } do … event:ack() end
function Client:events(o)
  return require("wgtwo.events").subscribe(self, o)
end

--- Closes the client: sends the acknowledgements that are still to be sent, then ends every stream and call. A second
-- time does nothing.
-- @tparam ?number timeout seconds for the acknowledgements; default 5
-- @treturn ?boolean true
-- @treturn ?wgtwo.error of kind "timeout" where acknowledgements were left: their events come again
function Client:close(timeout)
  local deadline = loop.deadline(timeout or limits.close_timeout)
  if self.closed then return true end
  self.closed = true
  local ok, err = true, nil
  local open = {}
  for subscription in pairs(self.subscriptions) do open[#open + 1] = subscription end
  for _, subscription in ipairs(open) do
    local flushed, problem = subscription:close(math.max(0, deadline - core.now()))
    if not flushed then ok, err = nil, problem end
  end
  for op in pairs(self.running) do pcall(op.cancel, op) end
  for size, channel in pairs(self.channels) do
    channel:close()
    self.channels[size] = nil
  end
  return ok, err
end

Client.__close = function(self) self:close() end

--- Counts.
-- @treturn table `calls`, `failed`, `streams` (since the start), `subscriptions` (open now), `open` (calls and
--   streams under way), `state` of the connection ("IDLE", "CONNECTING", "READY", "TRANSIENT_FAILURE" or "CLOSED")
function Client:stats()
  local counts = self.counts
  local open, subscriptions = 0, 0
  for _ in pairs(self.running) do open = open + 1 end
  for _ in pairs(self.subscriptions) do subscriptions = subscriptions + 1 end
  local channel = self.channels[self.options.max_message_size]
  return { calls = counts.calls, failed = counts.failed, streams = counts.streams, open = open,
    subscriptions = subscriptions, state = channel and channel:state() or "CLOSED" }
end

--- Names the target, nothing secret.
function Client:__tostring()
  return ("wgtwo.client(%s%s)"):format(self.target, self.closed and ", closed" or "")
end

receiver.check(Client, "client")

return M
