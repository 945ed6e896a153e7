--- The sandbox as a process: its command line, its ready line, its end.
--
-- Started by `wgtwo.sandbox.start` it reads its settings, one line of JSON, from its standard input, and ends when that
-- ends: with its parent, however that goes. Started by hand it takes options and ends at SIGINT or SIGTERM.
--
-- @module wgtwo.sandbox.command

local core = require "wgtwo.core"
local options = require "wgtwo.options"
local reactor = require "wgtwo.sandbox.reactor"
local settings = require "wgtwo.sandbox.settings"

local command = {}

-- Percent of the memory in use at which a collection begins. Most of a sandbox is history, which lives for long: to
-- look through it less often saves a twentieth of the Lua thread's time.
local COLLECTOR_PAUSE <const> = 400

local SIGTERM <const> = 15

local HELP <const> = [[
A sandbox of the Working Group Two APIs: gRPC with TLS and in plaintext, OAuth 2.0, and an admin API over HTTP.

  lua5.4 -e 'require("wgtwo.sandbox").main()' -- [options]

  --port N             gRPC with TLS (of every port: 0, the default, is chosen by the kernel)
  --plaintext-port N   gRPC in plaintext
  --http-port N        OAuth and the admin API
  --strict             refuse calls without a token
  --client ID          a client with every scope; its secret is in WGTWO_SANDBOX_SECRET (default: secret)
  --clock real|virtual a virtual clock moves only when it is told to
  --seed N             of everything that is made up (1)
  --generate TYPES     fake events, such as SMS_EVENT,handset_change
  --rate N             how many of them a second (1)
  --state FILE         keep everything in this file, over a restart
  --wire               forwarders in front of gRPC and of OAuth, for faults of the wire
  --consent auto|page  the user consents by itself, or on a page
  --config FILE        more settings, as JSON: see wgtwo/sandbox/settings.lua
  --scenario FILE      run this Lua script against the sandbox, and end with its exit code: see
                       wgtwo/sandbox/scenario.lua
  -h, --help

Without --client and --config there is one client, "id", with the secret "secret" and every scope. Ctrl-C or SIGTERM
ends it.

When it is ready it writes one line of JSON: target (TLS), plaintext_target, url (HTTP), oauth_url (the same, or
its forwarder), token_url, ca (PEM), pid. Then:

  export WGTWO_SANDBOX=URL     for scripts, which connect to it as the environment "local"
  curl URL/admin/journal       the calls that came; see wgtwo/sandbox/admin.lua for the rest
  curl URL | jq -r .ca >ca.pem the authority, for others: grpcurl -cacert ca.pem TARGET list

SMS to a number that ends in 0404 are rejected (SEND_STATUS_REJECT), to one that ends in 0503 they fail temporarily
(SEND_STATUS_ERROR). What is as the platform documents it, and what the sandbox chose: wgtwo/sandbox/FIDELITY.md.
]]

local flags = { ["--strict"] = "strict", ["--wire"] = "wire" }
local values = {
  ["--port"] = "port", ["--plaintext-port"] = "plaintext_port", ["--http-port"] = "http_port", ["--clock"] = "clock",
  ["--seed"] = "seed", ["--state"] = "state", ["--consent"] = "consent", ["--generate"] = "generate",
    ["--rate"] = "rate",
  ["--client"] = "client", ["--config"] = "config", ["--scenario"] = "scenario",
}
local integers = { port = true, plaintext_port = true, http_port = true, seed = true }

local function fail(text, ...)
  io.stderr:write("wgtwo sandbox: ", text:format(...), "\n")
  os.exit(2, true)
end

local function known_words()
  local words = { "--help" }
  for word in pairs(flags) do words[#words + 1] = word end
  for word in pairs(values) do words[#words + 1] = word end
  return words
end

--- Reads the words of the command line.
local function parse(words)
  local parsed, index = {}, 1
  while words[index] do
    local word, value = words[index], nil
    local name = word:match("^(%-%-[^=]+)=")
    if name then word, value = name, words[index]:sub(#name + 2) end
    if word == "--help" or word == "-h" then
      io.stdout:write(HELP)
      os.exit(0, true)
    elseif flags[word] and not value then
      parsed[flags[word]] = true
    elseif flags[word] then
      fail("%s takes no value", word)
    elseif values[word] then
      if not value then
        index = index + 1
        value = words[index] or fail("%s needs a value", word)
      end
      local key = values[word]
      parsed[key] = integers[key] and (math.tointeger(tonumber(value)) or fail("%s: not an integer: %s", word, value))
        or value
    else
      fail("unknown option %s%s", word, options.suggestion(word, known_words()))
    end
    index = index + 1
  end
  return parsed
end

local function read_config(path)
  local file, problem = io.open(path)
  if not file then fail("--config: %s", problem) end
  local text, given
  text, problem = file:read("a")
  file:close()
  if not text then fail("--config: %s: %s", path, problem) end -- a directory can be opened
  given, problem = core.json_decode(text)
  if type(given) ~= "table" or given[1] ~= nil then
    fail("--config: %s is no JSON object: %s", path, problem or "not in braces")
  end
  return given
end

--- The settings that the command line asks for.
local function from_command_line(words)
  local parsed = parse(words)
  local scenario = parsed.scenario
  local given = parsed.config and read_config(parsed.config) or {}
  if parsed.client then
    given.clients = { { id = parsed.client, secret = os.getenv("WGTWO_SANDBOX_SECRET") or "secret" } }
  end
  if parsed.generate then
    local types = {}
    for name in parsed.generate:gmatch("[^,%s]+") do types[#types + 1] = name end
    local rate = tonumber(parsed.rate or 1) or fail("--rate: not a number: %s", parsed.rate)
    given.generate = { { types = types, rate = rate } }
  elseif parsed.rate then
    fail("--rate needs --generate")
  end
  for name, value in pairs(parsed) do
    if settings.spec[name] and name ~= "generate" then given[name] = value end
  end
  return given, scenario
end

--- Writes the authority's certificate to a file, which goes with the sandbox.
local function write_certificate(pem)
  local path = os.tmpname()
  local file = assert(io.open(path, "w"))
  assert(file:write(pem))
  assert(file:close())
  return path
end

local function ready_line(server)
  local line = server:describe()
  line.ready, line.pid, line.ca_file = true, command.pid(), server.ca_file
  io.stdout:write(core.json_encode(line), "\n")
  io.stdout:flush()
end

--- This process's id.
function command.pid()
  local file = io.open("/proc/self/stat")
  local pid = file and file:read("n")
  if file then file:close() end
  return pid
end

--- Ends the sandbox when the standard input ends.
local function watch_parent(server)
  local watch = assert(core.watch(0))
  server.reactor:watch(watch, function()
    while watch:take() do
      local text = core.read(0, 4096)
      if text == "" or text == nil then return server:stop() end
    end
  end)
  watch:take()
end

--- Ends the sandbox in good order at SIGTERM: what it has accepted is in its state file.
local function watch_termination(server)
  local watch = assert(core.watch_signal(SIGTERM))
  server.reactor:watch(watch, function()
    if watch:take() then server:stop() end
  end)
  watch:take()
end

--- Serves. Returns the exit code.
local function serve(server, with_parent)
  watch_termination(server)
  if with_parent then
    server.ca_file = write_certificate(server.ca)
    watch_parent(server)
  end
  ready_line(server)
  server:run()
  return 0
end

--- Closes the sandbox after serving: the exit code, that of the shell where Ctrl-C ended it.
local function finish(server, ok, result)
  if not ok then
    local interrupted = reactor.is_interrupt(result)
    if not interrupted then io.stderr:write("wgtwo sandbox: ", tostring(result), "\n") end
    result = interrupted and 130 or 1
  end
  server:close()
  if server.ca_file then os.remove(server.ca_file) end
  return result
end

--- The words for the sandbox: those after `--`, else those of the script that runs. Lua takes the first word after `--`
-- for a script's name, and puts all of them into `arg` at its own places.
local function own_words()
  if type(arg) ~= "table" then return {} end
  local first = 0
  while arg[first - 1] do first = first - 1 end
  for index = first, #arg do
    if arg[index] == "--" then return { table.unpack(arg, index + 1) } end
  end
  return first < 0 and { table.unpack(arg) } or {}
end

--- Runs a sandbox in this process. Does not return.
-- @tparam ?table words of the command line; default: those of this process
function command.main(words)
  words = words or own_words()
  local with_parent = words[1] == "--parent"
  local given, scenario
  if with_parent then
    given = core.json_decode(io.stdin:read("l") or "") or {}
  else
    given, scenario = from_command_line(words)
  end
  local ok, checked = pcall(settings.check, "sandbox", given)
  if not ok then fail("%s", (checked:gsub("^.-: sandbox: ", ""))) end
  if scenario then os.exit(require("wgtwo.sandbox.scenario").run(given, scenario), true) end
  collectgarbage("setpause", COLLECTOR_PAUSE)
  local server, problem = require("wgtwo.sandbox.server").new(checked)
  if not server then fail("%s", problem) end
  os.exit(finish(server, pcall(serve, server, with_parent)), true)
end

return command
