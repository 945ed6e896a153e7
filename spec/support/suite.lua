-- Runs spec files, each in a Lua process of its own with a time limit, as many at a time as there are processors, and
-- ends with `N passed, N failed[, N skipped]`. A file that crashes or hangs is one failure more, and the others still
-- run. Arguments: [--filter=PATTERN] spec files.
-- Environment: WGTWO_TEST_JOBS, how many run at a time; WGTWO_TEST_LIMIT, seconds that a file may take (600);
-- WGTWO_TEST_REPORTS, a folder where sanitizers leave a report of any process that the tests start, each of which is a
-- failure.

local uv = require("luv")

local index = 0
while arg[index - 1] do index = index - 1 end
local interpreter = arg[index]
local folder = arg[0]:match("^(.*)/[^/]*$") or "."

local limit = tonumber(os.getenv("WGTWO_TEST_LIMIT") or 600)
local reports = os.getenv("WGTWO_TEST_REPORTS")
local total = { passed = 0, failed = 0, skipped = 0 }

local function quote(text)
  return "'" .. text:gsub("'", "'\\''") .. "'"
end

local function parse_arguments()
  local files, filter = {}, nil
  for _, word in ipairs(arg) do
    local pattern = word:match("^%-%-filter=(.*)$")
    if pattern then filter = pattern else files[#files + 1] = word end
  end
  return files, filter
end

-- The counts that report.lua saved, and the test that ran last ("" when all did).
local function read_result(path)
  local file = io.open(path)
  local passed, failed, skipped, where
  if file then
    passed, failed, skipped = file:read("n", "n", "n")
    file:read("l")
    where = file:read("l") or ""
    file:close()
  end
  return passed or 0, failed or 0, skipped or 0, passed and where or "before its first test"
end

-- `code` and `signal` are those of timeout(1), which has the test's signal as its own or as 128 + n.
local function how_it_ended(code, signal)
  if code == 124 or code == 137 then return ("took longer than %g s"):format(limit) end
  if code > 128 then signal = code - 128 end
  return signal ~= 0 and "was ended by signal " .. signal or "ended with status " .. code
end

-- Where the sanitizers report on the processes of a spec file: the beginning of a path.
local function report_path(name)
  return ("%s/%s"):format(reports, name:match("([^/]*)%.lua$") or name)
end

-- Shows and removes what sanitizers found in a spec file; returns how many reports.
local function collect_reports(name)
  if not reports then return 0 end
  local count, beginning = 0, report_path(name) .. "."
  for entry in require("lfs").dir(reports) do
    local path = reports .. "/" .. entry
    local file = path:sub(1, #beginning) == beginning and io.open(path)
    if file then
      count = count + 1
      io.stdout:write(file:read("a"))
      file:close()
      os.remove(path)
    end
  end
  return count
end

-- Shows what a spec file printed, and adds up what came of it.
local function count(name, output_path, result_path, code, signal)
  local output <close> = assert(io.open(output_path))
  io.stdout:write(output:read("a"))
  os.remove(output_path)
  local passed, failed, skipped, where = read_result(result_path)
  os.remove(result_path)
  local found = collect_reports(name)
  if found > 0 then
    failed = failed + found
    io.stdout:write(("%s: FAILED: %d sanitizer reports, above\n"):format(name, found))
  end
  if where ~= "" or (code + signal ~= 0 and failed == 0) then
    failed = failed + 1
    io.stdout:write(("%s: FAILED: its process %s, %s\n"):format(name, how_it_ended(code, signal),
      where ~= "" and "in: " .. where or "after its tests"))
  end
  io.stdout:flush()
  total.passed, total.failed, total.skipped = total.passed + passed, total.failed + failed, total.skipped + skipped
end

-- The shell's command line for a spec file.
local function command_line(name, filter, output_path, result_path)
  local settings = { "WGTWO_TEST_RESULT=" .. quote(result_path) }
  for _, sanitizer in ipairs(reports and { "ASAN", "UBSAN", "TSAN" } or {}) do
    settings[#settings + 1] = ('%s_OPTIONS="$%s_OPTIONS":log_path=%s'):format(sanitizer, sanitizer,
      quote(report_path(name)))
  end
  -- SIGINT first: the test that hangs fails where it stands, with a traceback
  return ("%s exec timeout --foreground -s INT -k 10 %g %s %s %s %s </dev/null >%s 2>&1"):format(
    table.concat(settings, " "), limit, quote(interpreter), quote(folder .. "/run.lua"),
    filter and "--filter=" .. quote(filter) or "", quote(name), quote(output_path))
end

-- Runs a spec file; `done()` is called when all is counted.
local function start(name, filter, done)
  local output_path, result_path = os.tmpname(), os.tmpname()
  local process
  process = assert(uv.spawn("sh", { args = { "-c", command_line(name, filter, output_path, result_path) },
    stdio = { nil, 1, 2 } }, function(code, signal)
    process:close()
    count(name, output_path, result_path, code, signal)
    done()
  end))
end

local files, filter = parse_arguments()
local next_file = 1
local function start_next()
  local name = files[next_file]
  next_file = next_file + 1
  if name then start(name, filter, start_next) end
end

for _ = 1, tonumber(os.getenv("WGTWO_TEST_JOBS") or #uv.cpu_info()) do start_next() end
local interrupt = uv.new_signal()
interrupt:start("sigint", function() os.exit(130) end) -- the tests are interrupted as well
interrupt:unref()
uv.run()

if total.passed + total.failed == 0 then
  io.stdout:write("no test ran\n")
  total.failed = 1
end
local line = ("%d passed, %d failed"):format(total.passed, total.failed)
print(total.skipped > 0 and line .. (", %d skipped"):format(total.skipped) or line)
os.exit(total.failed == 0)
