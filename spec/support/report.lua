-- Output of busted: one line a spec file, failures with details below it, at the end `N passed, N failed[, N skipped]`.
-- Under suite.lua, which runs each file in a process of its own, the counts go to the file that WGTWO_TEST_RESULT names
-- instead of the last line; they are written after every test, so that those of a process that crashed are known.

local base = require("busted.outputHandlers.base")

local result_path = os.getenv("WGTWO_TEST_RESULT")
local verbose = os.getenv("WGTWO_TEST_VERBOSE")

local function indent(text)
  return "    " .. tostring(text):gsub("\n+$", ""):gsub("\n", "\n    ")
end

-- What was raised: a string, an object with __tostring, or anything else.
local function describe(problem)
  local message = problem.message
  if message == nil then
    return "no message"
  elseif type(message) == "table" and not (getmetatable(message) or {}).__tostring then
    return require("pl.pretty").write(message)
  end
  return tostring(message)
end

local function counts_line(passed, failed, skipped)
  local line = ("%d passed, %d failed"):format(passed, failed)
  return skipped > 0 and line .. (", %d skipped"):format(skipped) or line
end

return function()
  local busted = require("busted")
  local handler = base()
  local total = { passed = 0, failed = 0, skipped = 0 }
  local file

  local function save(where)
    if not result_path then return end
    local out = assert(io.open(result_path, "w"))
    out:write(("%d %d %d\n%s\n"):format(total.passed, total.failed, total.skipped, where))
    out:close()
  end

  local function start_file(name)
    file = { name = name, passed = 0, failed = 0, skipped = 0, problems = {}, started = busted.monotime() }
  end

  local function count(what)
    total[what] = total[what] + 1
    file[what] = file[what] + 1
  end

  local function add_problem(problem)
    count("failed")
    file.problems[#file.problems + 1] = problem
  end

  local function print_file()
    local seconds = busted.monotime() - file.started
    local counts = counts_line(file.passed, file.failed, file.skipped)
    io.stdout:write(("%s  %s  %.1f s\n"):format(file.name, counts, seconds))
    for _, problem in ipairs(file.problems) do
      local trace = problem.element.trace or problem.trace or {}
      local where = trace.short_src and (" (%s:%s)"):format(trace.short_src, trace.currentline) or ""
      io.stdout:write(("  FAILED %s%s\n%s\n"):format(problem.name, where, indent(describe(problem))))
      if problem.trace and problem.trace.traceback then
        io.stdout:write(indent(problem.trace.traceback:gsub("^\n", "")), "\n")
      end
    end
    io.stdout:flush()
    file = nil
  end

  function handler.fileStart(element)
    start_file(element.name)
    return nil, true
  end

  function handler.fileEnd()
    print_file()
    return nil, true
  end

  function handler.testStart(element)
    local name = handler.getFullName(element)
    save(name)
    if verbose then
      io.stdout:write("  ", name, "\n")
      io.stdout:flush()
    end
    return nil, true
  end

  function handler.testEnd(element, _, status)
    if status == "success" then
      count("passed")
    elseif status == "pending" then
      count("skipped")
      io.stdout:write("  skipped ", handler.getFullName(element), "\n")
    elseif status == "failure" then
      add_problem(handler.failures[#handler.failures])
    else
      add_problem(handler.errors[#handler.errors])
    end
    save("after " .. handler.getFullName(element))
    return nil, true
  end

  -- An error outside a test: in a setup, a teardown, the check for live objects, or a file that does not load.
  function handler.error(element)
    if element.descriptor == "it" then return nil, true end
    local loads = file ~= nil
    if not loads then start_file(element.name or element.descriptor) end
    add_problem(handler.errors[#handler.errors])
    if not loads then print_file() end
    save("after an error in " .. tostring(element.descriptor))
    return nil, true
  end

  function handler.suiteEnd()
    save("")
    if not result_path then print(counts_line(total.passed, total.failed, total.skipped)) end
    io.stdout:flush()
    return nil, true
  end

  busted.subscribe({ "file", "start" }, handler.fileStart)
  busted.subscribe({ "file", "end" }, handler.fileEnd)
  busted.subscribe({ "test", "start" }, handler.testStart, { predicate = handler.cancelOnPending })
  busted.subscribe({ "test", "end" }, handler.testEnd, { predicate = handler.cancelOnPending })
  busted.subscribe({ "error" }, handler.error)
  busted.subscribe({ "suite", "end" }, handler.suiteEnd)
  return handler
end
