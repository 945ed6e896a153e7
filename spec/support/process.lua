-- Child Lua processes with a time limit: for what a test cannot do to itself (signals, exits, crashes, forks).

local process = {}

--- The interpreter that runs the tests: under a sanitizer that is not lua5.4.
function process.interpreter()
  local index = 0
  while arg and arg[index - 1] do index = index - 1 end
  return index < 0 and arg[index] or os.getenv("LUA") or "lua5.4"
end

--- Quoted for the shell.
function process.quote(text)
  return "'" .. tostring(text):gsub("'", "'\\''") .. "'"
end

local quote = process.quote

local function write_file(path, text)
  local file = assert(io.open(path, "wb"))
  assert(file:write(text))
  assert(file:close())
end

local function read_file(path)
  local file = io.open(path, "rb")
  if not file then return "" end
  local text = file:read("a")
  file:close()
  return text
end

-- `env` of the options as arguments of env(1): false removes a variable.
local function environment(env)
  local parts = {}
  for name, value in pairs(env or {}) do
    parts[#parts + 1] = value and quote(name .. "=" .. value) or "-u " .. quote(name)
  end
  table.sort(parts, function(a, b) return a:sub(1, 2) == "-u" and b:sub(1, 2) ~= "-u" end)
  return #parts > 0 and "env " .. table.concat(parts, " ") .. " " or ""
end

-- The command line of a Lua child; aggressive collection goes on in it.
local function lua_command(script, options)
  local words = { quote(process.interpreter()) }
  if os.getenv("WGTWO_TEST_GC") then words[#words + 1] = [[-e 'collectgarbage("incremental", 1, 1000, 1)']] end
  words[#words + 1] = quote(script)
  for _, word in ipairs(options.args or {}) do words[#words + 1] = quote(word) end
  return table.concat(words, " ")
end

--- Runs a shell command to its end.
-- @tparam string command
-- @tparam[opt] table options timeout (seconds, 60), env (false removes a variable), cwd, stdin (text)
-- @treturn table output, errors, ok, code (exit status or nil), signal (number or nil), timed_out
function process.shell(command, options)
  options = options or {}
  local base = os.tmpname()
  local out, err, input = base .. ".out", base .. ".err", base .. ".in"
  write_file(input, options.stdin or "")
  local cd = options.cwd and "cd " .. quote(options.cwd) .. " && " or ""
  local line = ("%stimeout -k 5 %g %ssh -c %s <%s >%s 2>%s"):format(
    cd, options.timeout or 60, environment(options.env), quote(command), input, out, err)
  local _, how, number = os.execute(line)
  local result = { output = read_file(out), errors = read_file(err), ok = how == "exit" and number == 0 }
  if how == "signal" then
    result.signal = number
  elseif number > 128 and number ~= 137 then -- the shell's word for a signal of its child
    result.signal, result.code = number - 128, number
  else
    result.code = number
  end
  result.timed_out = number == 124 or number == 137
  for _, path in ipairs({ base, out, err, input }) do os.remove(path) end
  return result
end

--- Runs Lua in a process of its own, to its end.
-- @tparam string script its text, or the path of a file that ends in .lua
-- @tparam[opt] table options those of process.shell, and args (a list)
-- @treturn table as process.shell
function process.lua(script, options)
  options = options or {}
  if script:match("^[^\n]+%.lua$") then return process.shell("exec " .. lua_command(script, options), options) end
  local path = os.tmpname()
  write_file(path, script)
  local result = process.shell("exec " .. lua_command(path, options), options)
  os.remove(path)
  return result
end

local Child = {}
Child.__index = Child

--- Starts Lua in a process of its own, and goes on.
-- @tparam string script its text
-- @tparam[opt] table options timeout (seconds, 60), env, args
-- @treturn Child pid; child:line() its next line of output (stderr is in it), child:kill([signal name]), child:wait()
function process.start(script, options)
  options = options or {}
  local path = os.tmpname()
  write_file(path, script)
  local limit = ("timeout --foreground -k 5 %g "):format(options.timeout or 60)
  -- the pid is that of Lua itself: it takes the place of the shell that said it
  local inner = "echo $$; exec " .. lua_command(path, options)
  local command = ("exec %s%ssh -c %s 2>&1 </dev/null"):format(limit, environment(options.env), quote(inner))
  local pipe = assert(io.popen(command))
  local pid = assert(tonumber(pipe:read("l")), "the child did not start")
  return setmetatable({ pid = math.tointeger(pid), pipe = pipe, path = path }, Child)
end

function Child:line()
  return self.pipe:read("l")
end

function Child:kill(signal)
  return os.execute(("kill -%s %d 2>/dev/null"):format(signal or "TERM", self.pid))
end

--- Reads what is left and waits for the end.
-- @treturn string the rest of its output
-- @treturn int exit status, 128 + n for signal n
function Child:wait()
  local rest = self.pipe:read("a")
  local _, _, code = self.pipe:close()
  os.remove(self.path)
  return rest, code
end

return process
