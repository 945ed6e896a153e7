-- Scenarios: exact events at exact times, waits, checks and an exit code, through the command line.

local core = require "wgtwo.core"
local process = require("spec.support.process")

local COMMAND = process.quote(process.interpreter()) .. [[ -e 'require("wgtwo.sandbox").main()' -- ]]

-- Runs a scenario; `words` are further options.
local function run(script, words)
  local path = os.tmpname()
  local file <close> = assert(io.open(path, "w"))
  file:write(script)
  file:flush()
  local result = process.shell(COMMAND .. ("--scenario %s %s"):format(path, words or ""), { timeout = 30 })
  os.remove(path)
  return result
end

describe("a scenario", function()
  it("writes the sandbox's ready line, and ends with 0", function()
    local result = run("local s = ... s:check(s.sandbox.pid, 'it runs')")
    assert.equal(0, result.code, result.errors)
    local ready = core.json_decode(result.output)
    assert.is_true(ready.ready)
    assert.is_string(ready.ca)
    assert.matches("so it is: it runs", result.errors, 1, true)
  end)

  it("publishes at exact times of a virtual clock", function()
    local result = run([[
      local s = ...
      s:at(3600)
      local id = s.sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
      s:sleep(0.25)
      local other = s.sandbox:publish{ type = "handset_change", number = "+4799990002" }
      s:check(s:event(id).time == "2026-01-01T01:00:00.000Z", s:event(id).time)
      s:check(s:event(other).time == "2026-01-01T01:00:00.250Z", s:event(other).time)
      return 7
    ]], "--clock virtual")
    assert.equal(7, result.code, result.errors)
  end)

  it("waits for exact times of a real clock", function()
    local result = run([[
      local s = ...
      s:at(0.3)
      s.sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
      s:check(s:elapsed() >= 0.3 and s:elapsed() < 10, "the time has come")
    ]])
    assert.equal(0, result.code, result.errors)
  end)

  it("that returned false, a text, or nil and an error was a success", function()
    for script, text in pairs{
      ["return false"] = "the script returned false: an exit code is an integer",
      ["return 'x'"] = "the script returned x",
      ["return nil, 'no reply'"] = "scenario: no reply",
    } do
      local result = run(script)
      assert.equal(1, result.code)
      assert.matches(text, result.errors, 1, true)
    end
  end)

  it("answered a wrong argument with a line of the rock", function()
    for call, text in pairs{
      ["s:at('x')"] = "scenario:at: seconds must be a number, not a string",
      ["s:wait('x')"] = "scenario:wait: is_so must be a function, not a nil",
      ["s:event()"] = "scenario:event: id must be a number, not a nil",
      ["s.say('x')"] = "call it with a colon: scenario:say(…)",
    } do
      local result = run("local s = ... " .. call)
      assert.equal(1, result.code)
      assert.matches("scenario: [^\n]*:1: " .. text:gsub("%p", "%%%0"), result.errors)
    end
  end)

  it("goes on at once, and says so, where a real time has passed in a wait", function()
    local result = run([[
      local s = ...
      s:at(0.01)
      s:wait("a second has passed", function() return s:elapsed() >= 1 end)
      s:at(0.02)
    ]])
    assert.equal(0, result.code, result.errors)
    assert.matches("late: 0.02 s was to come", result.errors, 1, true)
  end)

  it("went on at a time of a real clock that it had let pass itself", function()
    local result = run("local s = ... s:sleep(0.2) s:at(0.1)")
    assert.equal(1, result.code)
    assert.matches("0.1 s is over", result.errors, 1, true)
  end)

  it("ended with 0 where its exit code was none", function()
    for _, code in ipairs{ "256", "-1", "1.5" } do
      local result = run("return " .. code)
      assert.equal(1, result.code)
      assert.matches(("the script returned %s: an exit code is an integer from 0 to 255"):format(code), result.errors,
        1, true)
    end
    assert.equal(255, run("return 255").code)
  end)

  it("waits for a client", function()
    local result = run([[
      local s = ...
      local wgtwo = require "wgtwo"
      local id = s.sandbox:publish{ type = "SMS_EVENT", number = "+4799990001" }
      local client <close> = assert(wgtwo.connect(s.sandbox:client()))
      local events <close> = client:events{ types = { "SMS_EVENT" }, queue = "q", start = "oldest" }
      assert(events:next(5)):ack()
      s:wait("the event is acknowledged", function() return s:event(id).acks == 1 end)
    ]])
    assert.equal(0, result.code, result.errors)
    assert.matches("so it is: the event is acknowledged", result.errors, 1, true)
  end)

  it("ends with 1 at a check that fails, and says which", function()
    local result = run("local s = ... s:check(#s.sandbox:events() == 1, 'there is one event')")
    assert.equal(1, result.code)
    assert.matches("not so: there is one event\n$", result.errors)
    assert.is_nil(result.errors:find("traceback", 1, true))
  end)

  it("ends with 1 at a wait that is in vain", function()
    local result = run("local s = ... s:wait('a stream is open', function() return s.sandbox:streams()[1] end, 0.05)")
    assert.equal(1, result.code)
    assert.matches("not so within 0.05 s: a stream is open", result.errors, 1, true)
  end)

  it("does not go back in virtual time", function()
    local result = run("local s = ... s:at(10) s:at(5)", "--clock virtual")
    assert.equal(1, result.code)
    assert.matches("5 s is over", result.errors, 1, true)
  end)

  it("ends with 1 and a traceback at an error", function()
    local result = run("local s = ...\nerror('oops')")
    assert.equal(1, result.code)
    assert.matches("oops.*stack traceback", result.errors)
  end)

  it("ends with 2 when the script cannot be read", function()
    assert.equal(2, run("this is no Lua").code)
    local result = process.shell(COMMAND .. "--scenario /nonexistent.lua")
    assert.equal(2, result.code)
    assert.matches("/nonexistent.lua", result.errors, 1, true)
  end)
end)
