--- The sandbox itself: every part, put together, in one process and on one thread.
--
-- Parts that serve methods or paths register themselves here. `publish_event`, `pool`, `ids` and the settings are what
-- they share.
--
-- @module wgtwo.sandbox.server

local answers = require "wgtwo.sandbox.answers"
local admin = require "wgtwo.sandbox.admin"
local age = require "wgtwo.sandbox.age"
local calls = require "wgtwo.sandbox.calls"
local clock = require "wgtwo.sandbox.clock"
local core = require "wgtwo.core"
local events_v0 = require "wgtwo.sandbox.events_v0"
local events_v1 = require "wgtwo.sandbox.events_v1"
local faults = require "wgtwo.sandbox.faults"
local generator = require "wgtwo.sandbox.generator"
local health = require "wgtwo.sandbox.health"
local http = require "wgtwo.sandbox.http"
local httpd = require "wgtwo.httpd"
local journal = require "wgtwo.sandbox.journal"
local kinds = require "wgtwo.sandbox.kinds"
local limits = require "wgtwo.limits"
local log = require "wgtwo.sandbox.log"
local lookup = require "wgtwo.sandbox.lookup"
local oauth = require "wgtwo.sandbox.oauth"
local pages = require "wgtwo.sandbox.pages"
local payloads = require "wgtwo.sandbox.payloads"
local random = require "wgtwo.sandbox.random"
local reactor = require "wgtwo.sandbox.reactor"
local reflection = require "wgtwo.sandbox.reflection"
local schema = require "wgtwo.schema"
local sms = require "wgtwo.sandbox.sms"
local state = require "wgtwo.sandbox.state"
local status = require "wgtwo.sandbox.status"
local subscriptions = require "wgtwo.sandbox.subscriptions"
local tokens = require "wgtwo.sandbox.tokens"
local webterminal = require "wgtwo.sandbox.webterminal"
local wire = require "wgtwo.sandbox.wire"

local Server = {}
Server.__index = Server

local server = {}

local CLOSE_TIMEOUT <const> = 0.2 -- seconds for the last statuses to leave

-- Methods -------------------------------------------------------------------------------------------------------------

--- Serves a method.
-- @tparam string|table method its full name, or the method
-- @tparam table route see `wgtwo.sandbox.exchange`
function Server:serve(method, route)
  route.method = type(method) == "string" and schema.resolve(method) or method
  self.calls:add(route)
end

--- Whether something serves a method.
function Server:serves(name)
  return self.calls.routes["/" .. name] ~= nil
end

local function register_services(self)
  events_v0.register(self)
  events_v1.register(self)
  sms.register(self)
  lookup.register(self)
  webterminal.register(self)
  pages.register(self)
  answers.register(self)
  health.register(self)
  reflection.register(self)
  oauth.register(self)
  admin.register(self)
end

-- Events --------------------------------------------------------------------------------------------------------------

--- The subscribers that a client's fake events are about.
-- @tparam ?string client its id
-- @treturn table a list of numbers
function Server:pool(client)
  return client and self.pools[client] or self.pools[""]
end

--- Publishes an event.
-- @tparam table wish `kind` (a name), and what is wanted of `number`, `client`, `payload`, `random`
-- @treturn ?table the event
-- @treturn ?string what is wrong with the wish
function Server:publish_event(wish)
  local kind, wrong = kinds.get(wish.kind)
  if not kind then return nil, wrong end
  local r = wish.random or self.random
  local subject = wish.payload and payloads.subject(wish.payload)
  local number = wish.number or subject or r:pick(self:pool(wish.client))
  local payload = payloads.make(kind, number, wish.payload, r)
  local event = { id = false, kind = kind, at = self.clock:now(), number = number, client = wish.client,
    payload = payload, body = false, newest_record = false }
  local ok, problem = pcall(self.log.append, self.log, event)
  if not ok then return nil, tostring(problem) end
  self.subscriptions:published(event)
  return event
end

--- Publishes an event at some time. A reset takes it back.
-- @tparam table wish as for `publish_event`
-- @tparam number at seconds since 1970
function Server:publish_later(wish, at)
  local later = { wish = wish }
  later.timer = self.clock:at(at, function()
    self.later[later] = nil
    self:publish_event(wish)
  end)
  self.later[later] = true
end

local function start_generators(self)
  self.generators = {}
  for serial, plan in ipairs(self.plans or {}) do self.generators[serial] = generator.start(self, plan, serial) end
end

--- Replaces the plans of fake events.
-- @tparam table plans
function Server:generate(plans)
  for _, running in ipairs(self.generators) do running.stop() end
  self.plans = plans
  start_generators(self)
end

-- State ---------------------------------------------------------------------------------------------------------------

--- The parts whose content goes with a reset.
local function begin(self)
  local settings = self.settings
  self.random = random.new(settings.seed, "events")
  self.log = log.new(self.clock, settings)
  self.subscriptions = subscriptions.new(self.log, self.clock, self.subscriptions and self.subscriptions.serial or 0)
  self.faults = faults.new(random.new(settings.seed, "faults"))
  age.start(self)
  self.pools = { [""] = settings.numbers }
  for _, client in ipairs(settings.clients) do self.pools[client.id] = client.numbers end
  self.plans = settings.generate
  start_generators(self)
end

--- Back to the beginning: no events, positions, faults; every stream ends, and connections count as new. The clock
-- goes on, tokens stay good, and ids are not given a second time: acknowledgements that are still on their way meet
-- nothing new.
function Server:reset()
  self.calls:end_all(status.new("UNAVAILABLE", "the sandbox was reset"))
  self.subscriptions:clear(status.new("UNAVAILABLE", "the sandbox was reset"))
  for _, running in ipairs(self.generators) do running.stop() end
  for later in pairs(self.later) do self.clock:cancel(later.timer) end
  self.later = {} -- what is to be published
  self.journal:clear()
  self.lookups, self.held = {}, {}
  begin(self)
end

-- Listening -----------------------------------------------------------------------------------------------------------

local CERTIFICATE_DAYS <const> = 30

local function new_certificate()
  local made = httpd.certificate{ names = { "localhost" }, addresses = { "127.0.0.1", "::1" }, days = CERTIFICATE_DAYS }
  made.until_ = core.time() + CERTIFICATE_DAYS * 24 * 3600
  return made
end

--- With a state file a sandbox that is started again has the certificate from before: its clients still trust it.
local function find_certificate(settings)
  if not settings.state then return new_certificate() end
  local tomorrow = core.time() + 24 * 3600
  return state.keep(settings.state, "certificate", function(kept) return kept.until_ > tomorrow end, new_certificate)
end

--- The admin API stays on the HTTP port itself, where no fault of the wire reaches it.
local function listen_http(self)
  local settings = self.settings
  local served, problem = http.new(self.reactor, settings.host, settings.http_port)
  if not served then return nil, "cannot listen for HTTP: " .. tostring(problem) end
  self.http = served
  local function url(port) return ("http://127.0.0.1:%d"):format(port) end -- of any host that is allowed
  local port = served.daemon:port()
  self.url = url(port)
  if settings.wire then
    port, problem = wire.front(self, "http", port, 0)
    if not port then return nil, problem end
  end
  self.oauth_url = url(port)
  return true
end

local function listen_grpc(self)
  local settings = self.settings
  local host = settings.host
  local certificate, unusable = find_certificate(settings)
  if not certificate then return nil, unusable end
  self.ca = certificate.ca
  local grpc = core.server{
    ["grpc.max_receive_message_length"] = settings.max_message_size,
    ["grpc.max_send_message_length"] = -1,
    ["grpc.enable_channelz"] = 0, -- nobody asks for it, and counting takes time
  }
  self.grpc = grpc
  local function address(port) -- behind forwarders the server's own ports are nobody's business
    return ("%s:%d"):format(host, settings.wire and 0 or port)
  end
  local port, problem = grpc:listen(address(settings.port),
    { cert = certificate.cert, key = certificate.key, client_ca = settings.client_ca })
  if not port then return nil, problem end
  local plaintext
  plaintext, problem = grpc:listen(address(settings.plaintext_port))
  if not plaintext then return nil, problem end
  if settings.wire then
    port, problem = wire.front(self, "tls", port, settings.port)
    if not port then return nil, problem end
    plaintext, problem = wire.front(self, "plaintext", plaintext, settings.plaintext_port)
    if not plaintext then return nil, problem end
  end
  self.port, self.plaintext_port = port, plaintext
  self.reactor:watch(grpc, function() self.calls:accept_all(grpc) end)
  return true
end

--- What a client has to know to get here: the ready line, and the answer to GET /.
-- @treturn table
function Server:describe()
  return { name = "wgtwo sandbox", target = self.target, plaintext_target = self.plaintext_target, url = self.url,
    oauth_url = self.oauth_url, token_url = self.oauth_url .. limits.oauth.paths.token, ca = self.ca,
    clock = self.settings.clock, time = self.clock:now() }
end

--- A sandbox that listens and has not begun to serve.
-- @tparam table settings checked
-- @treturn ?table
-- @treturn ?string why not
function server.new(settings)
  local time = clock.new(settings.clock == "virtual")
  local self = setmetatable({ settings = settings, clock = time, reactor = reactor.new(time),
    journal = journal.new(time, settings), tokens = tokens.new(time, settings, settings.seed),
    ids = random.new(settings.seed, "ids"), generators = {}, later = {} }, Server)
  self.calls = calls.new(self)
  local problem, ok
  ok, problem = listen_http(self)
  if not ok then return nil, problem end
  ok, problem = listen_grpc(self)
  if not ok then return nil, problem end
  self.target = "localhost:" .. self.port
  self.plaintext_target = "localhost:" .. self.plaintext_port
  begin(self)
  register_services(self)
  if settings.state then
    self.state, problem = state.open(self, settings.state)
    if not self.state then return nil, problem end
  end
  self.calls:announce(self.grpc)
  self.grpc:start()
  return self
end

--- Serves until `stop`.
function Server:run()
  self.reactor:run()
end

--- Ends `run`.
function Server:stop()
  self.reactor:stop()
end

--- Lets go of everything.
function Server:close()
  self.calls:end_all(status.new("UNAVAILABLE", "the sandbox is closing"))
  if self.state then self.state:close() end
  local grpc, deadline = self.grpc, core.now() + CLOSE_TIMEOUT
  grpc:shutdown()
  while not grpc:stopped() and core.now() < deadline do core.poll(deadline - core.now(), {}) end
  grpc:close()
  wire.close(self)
  self.http:close()
end

return server
