-- The ways a script ends while its streams are in flight. Each is run many times: what goes wrong there is a race.

local patience = require("spec.support.patience")
local process = require("spec.support.process")

local OFTEN, LESS_OFTEN = 100, 25
if os.getenv("WGTWO_TEST_SANITIZER") or os.getenv("WGTWO_TEST_GC") then OFTEN, LESS_OFTEN = 8, 4 end

-- A server whose streams never rest; its line of output is its target.
local server_script = [[
  local api = require("spec.support.api").start()
  local feeds = require("spec.support.feeds")
  local wgtwo = require("wgtwo")
  api:on(feeds.SUBSCRIBE, function(call)
    local number = 0
    repeat number = number + 1 until not call:send(feeds.sms(number))
  end)
  api:on(feeds.ACK, function(call) call:reply({}) end)
  print(api.target)
  io.stdout:flush()
  wgtwo.sleep(600)
]]

-- What runs and ends: arg[1] is the target, arg[2] the way to end.
local victim_script = [[
  local wgtwo = require("wgtwo")
  local target, way = arg[1], arg[2]
  client = assert(wgtwo.connect({ target = target, plaintext = true, auth = false }))
  sub = client:events({ types = { "SMS_EVENT" }, queue = "q", max_in_flight = 50, ack_timeout = 30 })
  local ways = {
    ["end"] = function() end,
    ["os.exit"] = function() os.exit(3) end,
    ["os.exit and close"] = function() os.exit(3, true) end,
    ["error"] = function() error("as the script wanted") end,
    ["error in a task"] = function() wgtwo.run(function() wgtwo.spawn(error, "as the script wanted"):join() end) end,
    ["os.exit in a task"] = function() wgtwo.run(function() wgtwo.spawn(os.exit, 3, true):join() end) end,
    ["closed variables"] = function()
      local opened <close> = client
      local subscribed <close> = sub
      error("as the script wanted")
    end,
  }
  for _ = 1, 3 do assert(sub:next(10)):ack() end
  ways[way]()
]]

-- Runs the victim many times: arg[1] its file, arg[2] the target, arg[3] the way, arg[4] the expected status, arg[5]
-- how often.
local driver_script = [[
  local index = 0
  while arg[index - 1] do index = index - 1 end
  local command = ("timeout -k 1 20 '%s' '%s' '%s' '%s' 2>&1"):format(arg[index], arg[1], arg[2], arg[3])
  local wanted = tonumber(arg[4])
  for _ = 1, tonumber(arg[5]) do
    local pipe = io.popen(command)
    local said = pipe:read("a")
    local _, how, number = pipe:close()
    local complaint = wanted == 1 and not said:find("as the script wanted", 1, true) and "no message"
      or wanted ~= 1 and said ~= "" and said
    if how ~= "exit" or number ~= wanted or complaint then
      print(how, number, complaint or "")
      break -- the first says enough
    end
  end
]]

describe("exit with a stream in flight", function()
  local server, target, victim

  setup(function()
    server = process.start(server_script, { timeout = 600 })
    target = server:line()
    victim = os.tmpname()
    local file <close> = assert(io.open(victim, "w"))
    file:write(victim_script)
  end)

  teardown(function()
    server:kill("KILL")
    server:wait()
    os.remove(victim)
  end)

  local function check(way, status, times)
    it(("by %s: %d times, without crash, hang or complaint"):format(way, times), function()
      local result = process.lua(driver_script, { args = { victim, target, way, status, times }, timeout = 280 })
      assert.equal("", result.output .. result.errors)
      assert.is_true(result.ok)
    end)
  end

  check("end", 0, OFTEN)
  check("os.exit", 3, OFTEN)
  check("os.exit and close", 3, OFTEN)
  check("error", 1, OFTEN)
  check("error in a task", 1, LESS_OFTEN)
  check("os.exit in a task", 3, LESS_OFTEN)
  check("closed variables", 1, LESS_OFTEN)

  it("is quick while a connection is being made to a peer that says nothing", function()
    local result = process.lua([[
      local core = require("wgtwo.core")
      local pair = require("spec.support.pair")
      local silent = assert(core.forwarder({ target = "127.0.0.1:1" }))
      silent:set({ half_open = true })
      channel = pair.channel("127.0.0.1:" .. silent:port())
      call = pair.call(channel, "server", { wait_for_ready = true })
      pair.until_(function() return channel:state() == "CONNECTING" and silent:stats().accepted > 0 end)
      print(core.now())
    ]], { timeout = 60 })
    local began = tonumber(result.output)
    assert.is_number(began, result.errors)
    assert.is_true(result.ok)
    assert.is_true(require("wgtwo.core").now() - began < patience.soon)
  end)

  it("by a signal that nobody handles ends with that signal", function()
    local endless = "print('ready') io.stdout:flush() while true do sub:next(30) end"
    local child = process.start(victim_script:gsub("ways%[way%]%(%)", endless), { args = { target, "end" } })
    local line = child:line()
    assert.equal("ready", line)
    child:kill("TERM")
    local _, code = child:wait()
    assert.is_true(code == 143 or code == 15 or code == 124, "status " .. tostring(code))
  end)
end)
