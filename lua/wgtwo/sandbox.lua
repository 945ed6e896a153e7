--- The sandbox: a stand-in for the platform, in a process of its own on this machine.
--
--     local sandbox <close> = assert(wgtwo.sandbox.start{})
--     local client <close> = assert(wgtwo.connect(sandbox:client()))
--     sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = "hi" } }
--
-- It speaks gRPC (TLS and plaintext), OAuth and an admin API, as the platform documents; what it does of the platform,
-- fact by fact, is in `wgtwo/sandbox/FIDELITY.md`. It ends with its parent.
--
-- The methods below ask the admin API. What can fail at run time returns nil and a `wgtwo.error` of kind "http"; what
-- the sandbox refuses because it was asked wrongly raises.
--
-- @module wgtwo.sandbox

local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local kinds = require "wgtwo.sandbox.kinds"
local loop = require "wgtwo.loop"
local message = require "wgtwo.message"
local options = require "wgtwo.options"
local receiver = require "wgtwo.receiver"
local settings = require "wgtwo.sandbox.settings"

local START_TIMEOUT <const>, REQUEST_TIMEOUT <const> = 10, 30
local ANSWER_MAX <const> = 256 * 1024 * 1024 -- bytes: a snapshot has everything

local Sandbox = {}
Sandbox.__index = Sandbox
Sandbox.__name = "wgtwo.sandbox"

local sandbox = {}

-- Talking to it -------------------------------------------------------------------------------------------------------

local function failed(code, text, fields)
  fields = fields or {}
  fields.kind, fields.code, fields.message = "http", code, text
  return nil, errors.new(fields)
end

--- A body as JSON. A value that has no form in it, such as NaN, is misuse, and named.
local function encode(where, body, level)
  local ok, text = pcall(core.json_encode, body)
  if ok then return text end
  for name, value in pairs(body) do
    local fits, problem = pcall(core.json_encode, value)
    if not fits then error(("sandbox:%s: %s: %s"):format(where, tostring(name), problem), level + 1) end
  end
  error(("sandbox:%s: %s"):format(where, text), level + 1)
end

--- Asks the admin API: the answer's table, or nil and an error. What it refuses with 400 raises at the line of the
-- script that called the method; `where` is its name.
local function ask(self, where, method, path, body)
  if self.closed then return nil, errors.closed("the sandbox is closed") end
  local op <close> = assert(core.http{
    method = method, url = self.url .. path, timeout = REQUEST_TIMEOUT, connect_timeout = 5, max_body = ANSWER_MAX,
    headers = { "Content-Type: application/json" }, body = body and encode(where, body, 3) or nil,
  })
  local response, reason = loop.result(op)
  if not response then return failed("unreachable", reason, { target = self.url, retryable = true }) end
  local answer = core.json_decode(response.body)
  if response.status == 200 and type(answer) == "table" then return answer end
  local text = type(answer) == "table" and answer.error_description or response.body
  if response.status == 400 then
    error(("sandbox:%s: %s"):format(where, tostring(text):gsub("^%u+ /%S*: ", ""):gsub("^" .. where .. ": ", "")), 3)
  end
  return failed(type(answer) == "table" and answer.error or "unexpected", tostring(text),
    { target = self.url .. path, http_status = response.status })
end

local text_rule = { type = "string" }
local integer_rule = { type = "number", check = function(value)
  return math.tointeger(value) ~= nil, "an integer is needed"
end }

-- What the lists can be asked for.
local filters = {
  events = { type = text_rule, after = integer_rule, limit = integer_rule },
  streams = { method = text_rule, client = text_rule },
  end_streams = { method = text_rule, client = text_rule, code = text_rule },
  journal = { method = text_rule, client = text_rule, after = integer_rule, limit = integer_rule },
}

--- Checks the arguments of a method that takes no table of options, by their names.
local function check(where, given, spec)
  options.check("sandbox:" .. where, given, spec, 3)
end

--- A filter as the query of an address.
local function query(where, given)
  local parts = {}
  for name, value in pairs(options.check("sandbox:" .. where, given, filters[where], 3)) do
    parts[#parts + 1] = name .. "=" .. tostring(value):gsub("[^%w%-%._~]", function(c)
      return ("%%%02X"):format(c:byte())
    end)
  end
  table.sort(parts)
  return #parts > 0 and "?" .. table.concat(parts, "&") or ""
end

-- Starting and ending -------------------------------------------------------------------------------------------------

--- This interpreter, where this is one; else the one on the path.
local function interpreter()
  if type(arg) == "table" then return "/proc/self/exe" end
  return "lua5.4"
end

--- Reads one line of the child's output, or nil and why there is none.
local function read_line(child, deadline)
  local fd, text = child:stdout(), ""
  local watch <close> = assert(core.watch(fd))
  while not text:find("\n", 1, true) do
    if not watch:take() then
      if not loop.wait(watch, deadline) then return nil, ("it was not ready within %d s"):format(START_TIMEOUT) end
    else
      local more = core.read(fd, 65536)
      if more == "" or more == nil then
        return nil, "it ended before it was ready; see its message on standard error"
      end
      text = text .. (more or "")
    end
  end
  return text:match("^[^\n]*")
end

local function spawn(config)
  local child, problem = core.spawn{
    argv = { interpreter(), "-e", 'require("wgtwo.sandbox").main()', "--", "--parent" },
    env = { LUA_PATH = package.path, LUA_CPATH = package.cpath, LUA_PATH_5_4 = false, LUA_CPATH_5_4 = false,
      LUA_INIT = false, LUA_INIT_5_4 = false },
  }
  if not child then return nil, problem end
  local sent
  sent, problem = child:write(core.json_encode(config) .. "\n")
  if sent then
    local line
    line, problem = read_line(child, core.now() + START_TIMEOUT)
    local ready = line and core.json_decode(line)
    if type(ready) == "table" and ready.ready then return child, ready, line end
    problem = problem or "its first line is not what it should be: " .. tostring(line)
  end
  child:close()
  return nil, problem
end

--- Starts a sandbox and waits until it is ready.
--
-- @tparam ?table given all optional: `clock` ("real", "virtual"), `seed`, `strict` (a call without a token is refused),
--   `state` (a file that keeps everything over a restart), `clients` (a list of `{id, secret, scopes, redirect_uris,
--   numbers}`; default: one, `id` and `secret`, with every scope), `generate` (`{types, rate, numbers, client}`, or a
--   list of these: fake events; empty: none), `numbers` (their subscribers), `wire` (forwarders in front of the ports,
--   for `wire`); the rest is in `wgtwo/sandbox/settings.lua`
-- @treturn ?sandbox with `target` (TLS), `plaintext_target`, `ca_file`, `url` (HTTP: OAuth, admin), `oauth_url` (OAuth:
--   the same, or its forwarder), `pid`
-- @treturn ?wgtwo.error of kind "http" where it does not start
-- @raise on misuse: an unknown option, a value out of range
-- @usage local sandbox <close> = assert(wgtwo.sandbox.start{ clock = "virtual", seed = 7 })
function sandbox.start(given)
  local checked = settings.check("wgtwo.sandbox.start", given)
  local child, ready, line = spawn(given or {})
  if not child then return failed("no_sandbox", "the sandbox does not start: " .. tostring(ready)) end
  return setmetatable({
    process = child, target = ready.target, plaintext_target = ready.plaintext_target, url = ready.url,
    oauth_url = ready.oauth_url, pid = ready.pid, ready_line = line, ca_file = ready.ca_file,
    first_client = checked.clients[1], closed = false,
  }, Sandbox)
end

--- Runs a sandbox in this process, with options of the command line; does not return.
-- `lua5.4 -e 'require("wgtwo.sandbox").main()' -- --help` says which.
-- @tparam ?table words default: `arg`
function sandbox.main(words)
  require("wgtwo.sandbox.command").main(words)
end

--- Ends it. A second time does nothing.
function Sandbox:close()
  if self.closed then return end
  self.closed = true
  self.process:close()
  os.remove(self.ca_file) -- there is none, unless the sandbox was killed
end

Sandbox.__close = Sandbox.close
Sandbox.__gc = Sandbox.close

function Sandbox:__tostring()
  return ("wgtwo.sandbox(%s%s)"):format(self.url, self.closed and ", closed" or "")
end

-- Using it ------------------------------------------------------------------------------------------------------------

--- The options with which `wgtwo.connect` talks to this sandbox, as one of its clients.
-- @tparam ?string|false id of the client; default: the first; false: without a token
-- @treturn table
-- @raise an id that is not the first client's; after `close`
-- @usage local client <close> = assert(wgtwo.connect(sandbox:client()))
function Sandbox:client(id)
  if self.closed then error("sandbox:client: the sandbox is closed, there is nothing to connect to", 2) end
  local given = { target = self.target, tls = { ca_file = self.ca_file }, auth = false }
  if id == false then return given end
  local client = self.first_client
  if id and id ~= client.id then
    error(("the sandbox's first client is %q: give others with auth"):format(client.id), 2)
  end
  given.auth = require("wgtwo.oauth").client_credentials{
    client_id = client.id, client_secret = client.secret, token_url = self.oauth_url .. "/oauth2/token",
  }
  return given
end

local event_options = {
  type = { type = "string", required = true }, number = { type = "string" },
  payload = { type = { "table", "userdata" } }, client = { type = "string", nonempty = true },
}

--- Publishes an event.
-- @tparam table event `type` (a v0 type or a v1 stream's name), `number` (its subscriber; default: one of the pool),
--   `payload` (fields of the type's message, over a plausible default), `client` (the OAuth client that gets it;
--   default: all)
-- @treturn ?int the event's id
-- @treturn ?wgtwo.error
-- @raise an unknown type, a field that the payload's type does not have, a number that is none
-- @usage sandbox:publish{ type = "SMS_EVENT", number = "+4799990001", payload = { text = "hi" } }
function Sandbox:publish(event)
  event = options.check("sandbox:publish", event, event_options)
  local kind, wrong = kinds.get(event.type)
  if not kind then error("sandbox:publish: " .. wrong, 2) end
  local payload
  if event.payload ~= nil then
    local ok, made = pcall(message.new, kind.payload_name, event.payload)
    if not ok then error("sandbox:publish: payload: " .. tostring(made), 2) end
    payload = core.json_decode(message.tojson(made, { names = "proto" }))
  end
  local answer, err = ask(self, "publish", "POST", "/admin/events",
    { type = event.type, number = event.number, client = event.client, payload = payload })
  if not answer then return nil, err end
  return math.tointeger(answer.id)
end

--- The events of the history.
-- @tparam ?table filter `type`, `after` (an id), `limit` (the last so many)
-- @treturn ?table a list: `id`, `type`, `number`, `client`, `time`, `payload`, `deliveries`, `acks`, and
--   `subscriptions`, each with `subscription`, `deliveries`, `acked`
-- @treturn ?wgtwo.error
function Sandbox:events(filter)
  local answer, err = ask(self, "events", "GET", "/admin/events" .. query("events", filter))
  return answer and answer.events, err
end

--- The streams that are open now: `method`, `client`, `peer`, `subscription`, `in_flight`, `backlog`, `counts`, …
-- @tparam ?table filter `method` (an ending), `client`
-- @treturn ?table a list
-- @treturn ?wgtwo.error
function Sandbox:streams(filter)
  local answer, err = ask(self, "streams", "GET", "/admin/streams" .. query("streams", filter))
  return answer and answer.streams, err
end

--- Ends streams.
-- @tparam ?table which `method` (an ending), `client`, `code` (a gRPC status name; default: OK, a clean end)
-- @treturn ?int how many
-- @treturn ?wgtwo.error
-- @usage sandbox:end_streams{ code = "UNAVAILABLE" }
function Sandbox:end_streams(which)
  local answer, err = ask(self, "end_streams", "DELETE", "/admin/streams" .. query("end_streams", which))
  return answer and math.tointeger(answer.ended), err
end

--- Sets a fault. See `wgtwo.sandbox.faults` for its fields.
-- @tparam table fault
-- @treturn ?int its id, for `clear_faults`
-- @treturn ?wgtwo.error
-- @raise an unknown field, method or code; what would have no effect
-- @usage sandbox:fault{ method = "…/Ack", code = "UNAVAILABLE", count = 2 }
function Sandbox:fault(fault)
  if type(fault) ~= "table" then error("sandbox:fault: a table that says which is needed", 2) end
  local answer, err = ask(self, "fault", "POST", "/admin/faults", fault)
  return answer and math.tointeger(answer.id), err
end

--- The faults that are set, each with `id`, `seen` (calls that matched) and `struck`.
function Sandbox:faults()
  local answer, err = ask(self, "faults", "GET", "/admin/faults")
  return answer and answer.faults, err
end

--- Takes faults back.
-- @tparam ?int id of one; nil: all
-- @treturn ?boolean true
-- @treturn ?wgtwo.error
function Sandbox:clear_faults(id)
  check("clear_faults", { id = id }, { id = integer_rule })
  local path = "/admin/faults" .. (id and "/" .. math.tointeger(id) or "")
  local answer, err = ask(self, "clear_faults", "DELETE", path)
  return answer and true, err
end

--- Sets faults of the wire, for a sandbox that was started with `wire = true`. What is not named stays as it is.
-- @tparam table fault `where` it counts ("grpc", the default; "http": OAuth; "all"), `drop` (true, "up", "down"),
--   `refuse`, `half_open`, `delay` (seconds), `bandwidth` (bytes a second), `cut_after` (bytes towards the client);
--   false turns one off; `reset = true`, `close = true`: all connections end now. The admin API is never struck
-- @treturn ?boolean true
-- @treturn ?wgtwo.error
-- @usage sandbox:wire{ drop = true }
function Sandbox:wire(fault)
  if type(fault) ~= "table" or next(fault) == nil then error("sandbox:wire: a table that says which is needed", 2) end
  local answer, err = ask(self, "wire", "POST", "/admin/wire", fault)
  return answer and true, err
end

--- Turns all faults of the wire off, everywhere.
function Sandbox:clear_wire()
  local answer, err = ask(self, "clear_wire", "DELETE", "/admin/wire")
  return answer and true, err
end

--- Lets virtual time pass.
-- @tparam number seconds at most a year
-- @treturn ?number the time after, in seconds since 1970
-- @treturn ?wgtwo.error where the clock is real, or would be beyond the year 9998
-- @raise fewer than 0 or more than a year
function Sandbox:advance(seconds)
  check("advance", { seconds = seconds }, { seconds = { type = "number", required = true } })
  local answer, err = ask(self, "advance", "POST", "/admin/clock", { advance = seconds })
  return answer and answer.time, err
end

--- The sandbox's time, in seconds since 1970.
function Sandbox:time()
  local answer, err = ask(self, "time", "GET", "/admin/clock")
  return answer and answer.time, err
end

--- The calls that came, the oldest first: `method`, `client`, `metadata`, `requests`, `replies`, `code`, `message`,
-- …; token requests are among them as "POST /oauth2/token". Secrets are not in it.
-- @tparam ?table filter `method` (an ending), `client`, `after` (an id), `limit` (the last so many)
-- @treturn ?table a list
-- @treturn ?wgtwo.error
function Sandbox:journal(filter)
  local answer, err = ask(self, "journal", "GET", "/admin/journal" .. query("journal", filter))
  return answer and answer.calls, err
end

--- Sets the subscribers of fake events.
-- @tparam table numbers a list in E.164 form
-- @tparam ?string client an OAuth client's id; nil: of all that have none of their own
-- @treturn ?boolean true
-- @treturn ?wgtwo.error
function Sandbox:numbers(numbers, client)
  local body = { numbers = numbers, client = client }
  check("numbers", body, { numbers = { type = "list", required = true }, client = text_rule })
  local answer, err = ask(self, "numbers", "POST", "/admin/numbers", body)
  return answer and true, err
end

--- Replaces what fake events there are.
-- @tparam table plans a list of `{types, rate, numbers, client}`; empty: none
-- @treturn ?boolean true
-- @treturn ?wgtwo.error
function Sandbox:generate(plans)
  check("generate", { plans = plans }, { plans = { type = "list", required = true } })
  local answer, err = ask(self, "generate", "POST", "/admin/generate", { plans = core.json_array(plans) })
  return answer and true, err
end

--- Makes every token worthless: the next call with one is UNAUTHENTICATED. Refresh tokens are among them.
function Sandbox:revoke_tokens()
  local answer, err = ask(self, "revoke_tokens", "DELETE", "/admin/tokens")
  return answer and true, err
end

--- Asks a number lookup of one client that has the stream open.
-- @tparam ?string number in E.164 form; default: a made-up one
-- @tparam ?string recipient in E.164 form; default: one of the pool
-- @treturn ?string the question's id
-- @treturn ?wgtwo.error where there is none
-- @raise a number that is none
function Sandbox:ask(number, recipient)
  local body = { number = number, recipient = recipient }
  check("ask", body, { number = text_rule, recipient = text_rule })
  local answer, err = ask(self, "ask", "POST", "/admin/lookups", body)
  return answer and answer.id, err
end

--- The answers to number lookups.
function Sandbox:lookups()
  local answer, err = ask(self, "lookups", "GET", "/admin/lookups")
  return answer and answer.lookups, err
end

--- Everything that the sandbox knows, for `restore`.
function Sandbox:snapshot()
  return ask(self, "snapshot", "GET", "/admin/snapshot")
end

--- Goes back to a snapshot; every stream ends.
function Sandbox:restore(snapshot)
  check("restore", { snapshot = snapshot }, { snapshot = { type = "table", required = true } })
  local answer, err = ask(self, "restore", "POST", "/admin/snapshot", snapshot)
  return answer and true, err
end

--- Back to the beginning: no events, positions, faults, journal; every stream ends, and connections count as new.
-- The clock goes on, tokens stay good.
function Sandbox:reset()
  local answer, err = ask(self, "reset", "POST", "/admin/reset", {})
  return answer and true, err
end

receiver.check(Sandbox, "sandbox")

return sandbox
