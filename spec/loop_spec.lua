local core = require "wgtwo.core"
local errors = require "wgtwo.error"
local loop = require "wgtwo.loop"
local patience = require "spec.support.patience"
local waiters = require "wgtwo.waiters"
local timers = require "wgtwo.timers"

-- A value that counts how often it is closed.
local function closable()
  local value = { closed = 0 }
  return setmetatable(value, { __close = function() value.closed = value.closed + 1 end })
end

local function elapsed(f, ...)
  local began = core.now()
  f(...)
  return core.now() - began
end

-- A signal that nobody will ever notify.
local function never() return loop.signal() end

describe("timers", function()
  it("give the items in order of their time, whichever were removed", function()
    local heap, items, left = timers.new(), {}, {}
    for i = 1, 500 do
      items[i] = { at = (i * 7919) % 499 }
      timers.push(heap, items[i])
    end
    for i = 1, 500 do
      if i % 3 == 0 then timers.remove(heap, items[i]) else left[#left + 1] = items[i].at end
    end
    timers.remove(heap, items[3]) -- is out already
    table.sort(left)
    for i = 1, #left do
      assert.equal(left[i], heap[1].at)
      timers.remove(heap, heap[1])
    end
    assert.is_nil(heap[1])
  end)
end)

describe("the loop", function()
  after_each(function() assert.is_true(waiters.none()) end)

  describe("run", function()
    it("gives what the function returned, nil included", function()
      assert.same({ n = 4, 1, nil, 3 }, table.pack(loop.run(function(...)
        loop.sleep(0)
        return ...
      end, 1, nil, 3, nil)))
    end)

    it("ends when all that was spawned has ended, also what the spawned spawned", function()
      local ended = 0
      loop.run(function()
        for _ = 1, 3 do
          loop.spawn(function()
            loop.sleep(0.005)
            loop.spawn(function()
              loop.sleep(0.005)
              ended = ended + 1
            end)
          end)
        end
      end)
      assert.equal(3, ended)
    end)

    it("overlaps the waits of many tasks, and keeps each task's own order", function()
      local log = {}
      local seconds = elapsed(loop.run, function()
        for i = 1, 300 do
          loop.spawn(function()
            for step = 1, 2 do
              loop.sleep(0.1)
              log[#log + 1] = { i, step }
            end
          end)
        end
      end)
      assert.equal(600, #log)
      assert.is_true(seconds >= 0.2 and seconds < patience.soon, seconds)
      local last = {}
      for _, entry in ipairs(log) do
        assert.equal((last[entry[1]] or 0) + 1, entry[2])
        last[entry[1]] = entry[2]
      end
    end)

    it("may be nested, in a task and in a coroutine of the script's own", function()
      assert.equal("inner", loop.run(function()
        return loop.run(function()
          loop.spawn(loop.sleep, 0.005)
          return "inner"
        end)
      end))
      assert.equal("own", coroutine.wrap(function()
        return loop.run(function()
          loop.sleep(0.001)
          return "own"
        end)
      end)())
    end)

    it("waits only for its own tasks, and without a function for those spawned outside", function()
      local ended = false
      loop.spawn(function()
        loop.sleep(0.03)
        ended = true
      end)
      loop.run(function() end)
      assert.is_false(ended)
      loop.run()
      assert.is_true(ended)
    end)

    it("refuses what is not a function", function()
      assert.error_matches(function() loop.run(5) end, "^run: a function is needed, not number")
      assert.error_matches(function() loop.spawn() end, "^spawn: a function is needed, not nil")
      assert.equal(7, loop.run(setmetatable({}, { __call = function(_, x) return x end }), 7))
    end)
  end)

  describe("an error", function()
    it("of the function ends the rest and is raised with its traceback", function()
      local resource = closable()
      local ok, message = pcall(loop.run, function()
        loop.spawn(function()
          local held <close> = resource -- luacheck: ignore
          never():wait()
        end)
        loop.sleep(0.001)
        error("boom")
      end)
      assert.is_false(ok)
      assert.matches("loop_spec.lua:%d+: boom\nstack traceback:", message)
      assert.equal(1, resource.closed)
    end)

    it("of a spawned function is raised by run at once when nobody can join it", function()
      local ok, message = pcall(loop.run, function()
        loop.spawn(function()
          loop.sleep(0.001)
          error("boom")
        end)
        never():wait()
      end)
      assert.is_false(ok)
      assert.matches("boom", message)
    end)

    it("reaches whoever joins, also when it joins late", function()
      local result = loop.run(function()
        local task = loop.spawn(function()
          loop.sleep(0.001)
          error("boom", 0)
        end)
        loop.sleep(0.02)
        local ok, message = pcall(task.join, task)
        assert.is_false(ok)
        assert.equal("boom", message)
        return "went on"
      end)
      assert.equal("went on", result)
    end)

    it("that could have been joined but was not is raised at the end", function()
      local ended = false
      local ok, message = pcall(loop.run, function()
        local task = loop.spawn(error, "boom")
        loop.sleep(0.02)
        ended = tostring(task)
      end)
      assert.is_false(ok)
      assert.matches("boom", message)
      assert.matches("failed", ended)
    end)

    it("that was joined is forgotten", function()
      loop.run(function()
        local function fail_and_join()
          local task = loop.spawn(error, ("x"):rep(10000))
          assert.is_false((pcall(task.join, task)))
        end
        fail_and_join()
        collectgarbage()
        local before = collectgarbage("count")
        for _ = 1, 200 do fail_and_join() end
        collectgarbage()
        assert.is_true(collectgarbage("count") - before < 200)
      end)
    end)

    it("of what was spawned outside is raised by run without a function", function()
      local task = loop.spawn(function()
        loop.sleep(0.001)
        error("boom")
      end)
      local ok, message = pcall(loop.run)
      assert.is_false(ok)
      assert.matches("boom", message)
      assert.matches("failed", tostring(task))
      loop.run()
    end)

    it("that is an object stays what it is", function()
      local err = errors.timeout("late")
      local ok, raised = pcall(loop.run, function() loop.spawn(error, err) end)
      assert.is_false(ok)
      assert.equal(err, raised)
      ok, raised = pcall(loop.run, error, err)
      assert.is_false(ok)
      assert.equal(err, raised)
    end)

    it("closes the task's variables, which may wait", function()
      local closed = false
      local ok = pcall(loop.run, function()
        loop.spawn(function()
          local held <close> = setmetatable({}, { __close = function() -- luacheck: ignore
            loop.sleep(0.002)
            closed = true
          end })
          error("boom")
        end)
        loop.sleep(0.05)
      end)
      assert.is_false(ok)
      assert.is_true(closed)
    end)

    it("of a background task is raised by whoever drives", function()
      loop.daemon("acknowledgements", error, "boom")
      local ok, message = pcall(loop.sleep, 0.01)
      assert.is_false(ok)
      assert.matches('background task "acknowledgements" failed: boom', message)
    end)
  end)

  describe("a task", function()
    it("gives its results to all who join", function()
      loop.run(function()
        local task = loop.spawn(function()
          loop.sleep(0.002)
          return 1, nil, 3
        end)
        for _ = 1, 3 do loop.spawn(function() assert.same({ n = 3, 1, nil, 3 }, table.pack(task:join())) end) end
        assert.same({ n = 3, 1, nil, 3 }, table.pack(task:join()))
      end)
    end)

    it("can be joined from outside", function()
      local task = loop.spawn(function()
        loop.sleep(0.002)
        return "done"
      end)
      assert.equal("done", task:join())
    end)

    it("can be joined for some time", function()
      local task = loop.spawn(function() never():wait() end)
      local result, err = task:join(0.005)
      assert.is_nil(result)
      assert.equal("timeout", err.kind)
      task:cancel()
    end)

    it("can be cancelled: it closes its variables and leaves nothing behind", function()
      local resource, log = closable(), {}
      local task = loop.spawn(function()
        local held <close> = resource -- luacheck: ignore
        loop.wait_any({ never(), never() }, loop.deadline(100))
        log[#log + 1] = "went on"
      end)
      loop.sleep(0.001)
      assert.is_false(waiters.none())
      task:cancel()
      task:cancel()
      assert.is_true(waiters.none())
      assert.equal(1, resource.closed)
      assert.same({}, log)
      local ok, err = pcall(task.join, task)
      assert.is_false(ok)
      assert.equal("closed", err.kind)
    end)

    it("that cancels itself ends where it next waits", function()
      local reached, task = {}, nil
      task = loop.spawn(function()
        task:cancel()
        reached[1] = true
        loop.sleep(0)
        reached[2] = true
      end)
      loop.sleep(0.005)
      assert.same({ true }, reached)
    end)

    it("cannot join itself", function()
      local task
      task = loop.spawn(function() task:join() end)
      assert.error_matches(function() task:join() end, "cannot join itself")
    end)

    it("may give way with a plain yield", function()
      local log = {}
      loop.run(function()
        for i = 1, 2 do
          loop.spawn(function()
            for step = 1, 2 do
              log[#log + 1] = i .. step
              if i == 1 then coroutine.yield() else loop.pass() end
            end
          end)
        end
      end)
      assert.same({ "11", "21", "12", "22" }, log)
    end)

    it("waits also where Lua cannot yield, and in coroutines of the script's own", function()
      loop.run(function()
        local sorted = { 3, 1, 2 }
        table.sort(sorted, function(a, b)
          loop.sleep(0.001)
          return a < b
        end)
        assert.same({ 1, 2, 3 }, sorted)
        local ticks = 0
        loop.spawn(function()
          for _ = 1, 5 do
            loop.sleep(0.001)
            ticks = ticks + 1
          end
        end)
        local generator = coroutine.wrap(function()
          repeat loop.sleep(0.001) until ticks == 5 -- the others go on meanwhile
          coroutine.yield("one")
        end)
        assert.equal("one", generator())
      end)
    end)
  end)

  it("keeps 200 tasks going that all wait in coroutines of their own", function()
    local ended = 0
    loop.run(function()
      for _ = 1, 200 do
        loop.spawn(function()
          coroutine.wrap(function() loop.sleep(0.001) end)()
          ended = ended + 1
        end)
      end
    end)
    assert.equal(200, ended)
  end)

  describe("a signal", function()
    it("wakes all who wait, in the order of their coming", function()
      local changed, order = loop.signal(), {}
      loop.run(function()
        for i = 1, 4 do
          loop.spawn(function()
            assert.is_true(changed:wait())
            order[#order + 1] = i
          end)
        end
        loop.sleep(0.001)
        assert.same({}, order)
        changed:notify()
      end)
      assert.same({ 1, 2, 3, 4 }, order)
    end)

    it("says when the deadline came first", function()
      local seconds = elapsed(function() assert.is_false(never():wait(loop.deadline(0.02))) end)
      assert.is_true(seconds >= 0.02)
      assert.is_false(loop.run(function() return never():wait(loop.deadline(0.01)) end))
      assert.is_false(never():wait(core.now() - 1))
    end)

    it("is one of several to wait for", function()
      local first, second = loop.signal(), loop.signal()
      loop.run(function()
        loop.spawn(function() second:notify() end)
        assert.equal(second, loop.wait_any{ first, second, second })
        assert.is_false(loop.wait_any({ first, second }, loop.deadline(0.005)))
        assert.is_false(loop.wait_any({}, loop.deadline(0.001)))
      end)
    end)

    it("reaches a wait outside of tasks", function()
      local changed = loop.signal()
      loop.spawn(function()
        loop.sleep(0.001)
        changed:notify()
      end)
      assert.is_true(changed:wait(loop.deadline(5)))
    end)
  end)

  describe("an operation of the core", function()
    -- What a child process writes, read as it comes.
    local function read_all(process)
      local fd, parts = process:stdout(), {}
      local watch <close> = assert(core.watch(fd))
      while true do
        local bytes = core.read(fd, 100)
        if bytes == "" then return table.concat(parts) end
        if bytes then parts[#parts + 1] = bytes else loop.wait(watch) end
      end
    end

    it("is waited for in tasks and outside", function()
      local command = { argv = { "sh", "-c", "read line; echo got $line; echo done" } }
      local process <close> = assert(core.spawn(command))
      loop.spawn(function()
        loop.sleep(0.005)
        process:write("this\n")
      end)
      assert.equal("got this\ndone\n", read_all(process))
      local texts = {}
      loop.run(function()
        for i = 1, 5 do
          loop.spawn(function()
            local own <close> = assert(core.spawn(command))
            own:write(i .. "\n")
            texts[i] = read_all(own)
          end)
        end
      end)
      for i = 1, 5 do assert.equal("got " .. i .. "\ndone\n", texts[i]) end
    end)

    it("wakes all who wait for it", function()
      local process <close> = assert(core.spawn{ argv = { "cat" } })
      local codes = {}
      loop.run(function()
        for i = 1, 3 do
          loop.spawn(function()
            local code = process:take()
            while code == false do
              assert.is_true(loop.wait(process, loop.deadline(10)))
              code = process:take()
            end
            codes[i] = code
          end)
        end
        loop.sleep(0)
        process:finish()
      end)
      assert.same({ 0, 0, 0 }, codes)
    end)
  end)

  it("checks what sleep is given", function()
    for _, wrong in ipairs{ -1, "1", 0 / 0 } do
      assert.error_matches(function() loop.sleep(wrong) end, "^sleep: a number of seconds")
    end
  end)

  it("lets tasks run while the script itself works", function()
    local ran = false
    loop.spawn(function() ran = true end)
    loop.pass()
    assert.is_true(ran)
  end)

  it("does not slow down with the number of waiting tasks", function()
    local function cost(idle) -- of 1,000 waits, in instructions
      local tasks, instructions = {}, 0
      for i = 1, idle do tasks[i] = loop.spawn(function() never():wait(loop.deadline(1000)) end) end
      loop.sleep(0)
      local function count() instructions = instructions + 100 end
      loop.run(function()
        debug.sethook(count, "", 100)
        for _ = 1, 1000 do loop.wait(tasks, 0) end
        debug.sethook()
      end)
      for _, task in ipairs(tasks) do task:cancel() end
      return instructions
    end
    local few, many = cost(1), cost(5000)
    assert.is_true(few > 1000)
    assert.is_true(many < 10 * few, ("%d, %d"):format(few, many))
  end)
end)
