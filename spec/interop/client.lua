-- A foreign program: a child process with a time limit, whose output (standard and error output together) is read
-- while it runs. `stop` ends it; so does leaving the scope of a `<close>` variable.

local core = require("wgtwo.core")
local loop = require("wgtwo.loop")

local Client = {}
Client.__index = Client

local client = {}

client.LIMIT = 60 -- seconds that a program may run, unless it is told otherwise
local PATIENCE <const> = 20 -- seconds that one expected line may take
local CHUNK <const> = 65536

--- Starts a program.
-- @tparam table argv
-- @tparam[opt] table options `env` (name → value), `cwd`, `limit` (seconds), `input` (true: `write` will be used)
-- @treturn Client
function client.start(argv, options)
  options = options or {}
  local words = { "sh", "-c", 'exec 2>&1; cd "$0" && exec timeout -k 5 "$@"', options.cwd or ".",
    tostring(options.limit or client.LIMIT) }
  table.move(argv, 1, #argv, #words + 1, words)
  local process = assert(core.spawn{ argv = words, env = options.env })
  if not options.input then process:finish() end
  return setmetatable({ name = argv[1]:match("[^/]*$"), process = process, watch = assert(core.watch(process:stdout())),
    output = "", seen = 0 }, Client)
end

--- Runs a program to its end.
-- @treturn int its exit code
-- @treturn string its output
function client.run(argv, options)
  local child <close> = client.start(argv, options)
  return child:wait(options and options.limit)
end

--- Reads what there is, or waits for it. False: nothing came in time; nil: there will be no more.
local function read(self, deadline)
  while true do
    local more = core.read(self.process:stdout(), CHUNK)
    if more == "" or more == nil then return nil end
    if more then
      self.output = self.output .. more
      return true
    end
    if not self.watch:take() and not loop.wait(self.watch, deadline) then return false end
  end
end

local function complain(self, text, level)
  error(("%s: %s; it said:\n%s"):format(self.name, text, self.output), level + 1)
end

--- Waits until a pattern is in the output, after what was expected before.
-- @tparam string pattern of string.find
-- @treturn string… its captures, or the whole match
-- @raise when it does not come
function Client:expect(pattern, seconds)
  local deadline = core.now() + (seconds or PATIENCE)
  while true do
    local found = table.pack(self.output:find(pattern, self.seen + 1))
    if found[1] then
      self.seen = found[2]
      if found.n > 2 then return table.unpack(found, 3, found.n) end
      return self.output:sub(found[1], found[2])
    end
    local more = read(self, deadline)
    if not more then
      complain(self, (more == nil and "it ended without %q" or "it did not say %q in time"):format(pattern), 2)
    end
  end
end

--- Waits for a JSON object in the output.
-- @treturn table
function Client:object()
  local text = self:expect("%b{}")
  local value, problem = core.json_decode(text)
  return value or complain(self, "no JSON: " .. tostring(problem), 2)
end

--- Reads what is left and waits for the end.
-- @treturn int exit code
-- @treturn string all output
function Client:wait(seconds)
  local deadline = core.now() + (seconds or client.LIMIT) + 10
  local more = true
  while more do more = read(self, deadline) end
  local code = self.process:take()
  while code == false and loop.wait(self.process, deadline) do code = self.process:take() end
  if not code then complain(self, "it did not end", 2) end
  return code, self.output
end

--- Writes to its standard input.
function Client:write(text)
  assert(self.process:write(text))
end

--- Ends it, if it still runs.
function Client:stop()
  if not self.process then return end
  self.process:finish()
  self.process:kill()
  self.process:close()
  self.watch:close()
  self.process = nil
end

Client.__close = Client.stop

return client
