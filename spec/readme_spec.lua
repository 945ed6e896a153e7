-- Every code block of the README runs: Lua blocks as scripts of their own, shell blocks line by line.

local process = require("spec.support.process")

-- The blocks of one language, as lists of lines with the number of the first.
local function blocks(language)
  local found, block, number = {}, nil, 0
  for line in io.lines("README.md") do
    number = number + 1
    if block and line:match("^```") then
      if block.language == language then found[#found + 1] = block end
      block = nil
    elseif block then
      block[#block + 1] = line
    elseif line:match("^```") then
      block = { number = number + 1, language = line:match("^```(%w*)") }
    end
  end
  return found
end

local function run(command, options)
  local result = process.shell(command, options)
  assert.is_true(result.ok, command .. "\n" .. result.output .. result.errors)
  return result.output
end

local function contains(path, text)
  local file <close> = assert(io.open(path))
  return file:read("a"):find(text, 1, true) ~= nil
end

-- A script that goes on for ever: it is interrupted as soon as it has had an event, and ends well.
local function runs_until_interrupted(script, env)
  local child = process.start(('dofile(%q)'):format(script), { timeout = 30, env = env })
  assert.matches("waiting for SMS_EVENT", child:line())
  local event = child:line()
  child:kill("INT")
  local rest, code = child:wait()
  assert.matches("SMS_EVENT of", event)
  assert.equal(0, code or 0, event .. "\n" .. rest)
end

-- How each line of a shell block is tried.
local rules = {
  { "^make demo$", function() assert.is_truthy(run("make demo"):find("SMS", 1, true)) end },
  { "^make test$", function() run("make -n test") end }, -- what runs this very test
  { "^luarocks %-%-lua%-version 5%.4 make (rockspec/%S+)$", function(rockspec) -- installs for real over there
    assert.is_true(contains("spec/packaging_spec.lua", rockspec))
  end },
  { '^(eval "%$%(make %-s env%)")$', function(command)
    local try = (" && cd / && %s -e 'require \"wgtwo\".loop.now()'"):format(process.interpreter())
    local result = process.shell("unset LUA_PATH LUA_CPATH; " .. command .. try)
    assert.is_true(result.ok, result.errors)
  end },
  { "^make install PREFIX=DIR$", function()
    local folder = run("mktemp -d"):match("%S+")
    run("make install PREFIX=" .. folder)
    assert.is_truthy(run("find " .. folder):find("/share/lua/5.4/wgtwo/init.lua", 1, true))
    run("rm -rf " .. folder)
  end },
  { "^(lua5%.4 %-e 'require%(\"wgtwo%.sandbox\"%)%.main%(%)' %-%- ).*$", function(command)
    -- the ports that the README names may be taken: the kernel chooses others
    command = command:gsub("^lua5%.4", process.interpreter, 1)
    local line = run("(" .. command .. "--http-port 0 --port 0 &) 2>/dev/null | head -n 1")
    assert.is_truthy(line:find('"url"', 1, true), line)
    run("kill " .. line:match('"pid":(%d+)'))
  end },
  { "^WGTWO_SANDBOX=%S+ lua5%.4 (examples/%S+)$", function(script)
    local wgtwo = require "wgtwo"
    local sandbox <close> = assert(wgtwo.sandbox.start{ generate = { types = { "SMS_EVENT" }, rate = 10 } })
    runs_until_interrupted(script, { WGTWO_SANDBOX = sandbox.url })
  end },
  { "^export CLIENT_ID=… CLIENT_SECRET=… WGTWO_ENV=eu$", function() end }, -- for the line below it
  { "^lua5%.4 (examples/%S+)$", function(script)
    local wgtwo = require "wgtwo"
    local sandbox <close> = assert(wgtwo.sandbox.start{ generate = { types = { "SMS_EVENT" }, rate = 10 } })
    runs_until_interrupted(script,
      { WGTWO_SANDBOX = sandbox.url, WGTWO_ENV = "local", CLIENT_ID = "id", CLIENT_SECRET = "secret" })
  end },
}

local function try(line)
  for _, rule in ipairs(rules) do
    local capture = line:match(rule[1])
    if capture then return rule[2](capture) end
  end
  error("no rule says how to run this line of the README: " .. line)
end

describe("README", function()
  for _, block in ipairs(blocks("lua")) do
    it(("runs the Lua block at line %d"):format(block.number), function()
      local result = process.lua(table.concat(block, "\n") .. "\n", { timeout = 30 })
      assert.is_true(result.ok, result.errors)
      for _, line in ipairs(block) do -- a comment `--> text` is what the line prints
        local expected = line:match("%-%->%s*(.-)%s*$")
        if expected then
          local printed = result.output:gsub("%s+", " ")
          assert.is_truthy(printed:find(expected:gsub("%s+", " "), 1, true), printed .. " lacks " .. expected)
        end
      end
    end)
  end

  for _, block in ipairs(blocks("sh")) do
    for i, line in ipairs(block) do
      it(("runs line %d: %s"):format(block.number + i - 1, line), function() try(line) end)
    end
  end
end)
