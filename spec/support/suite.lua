-- Runs spec files, each in a Lua process of its own with a time limit, and ends with `N passed, N failed[, N skipped]`.
-- A file that crashes or hangs is one failure more, and the others still run. Arguments: [--filter=PATTERN] spec files.
-- Environment: WGTWO_TEST_LIMIT, seconds that a file may take (300); WGTWO_TEST_REPORTS, the folder where sanitizers
-- leave a report of any process that the tests start, each of which is a failure.

local index = 0
while arg[index - 1] do index = index - 1 end
local interpreter = arg[index]
local folder = arg[0]:match("^(.*)/[^/]*$") or "."

local limit = tonumber(os.getenv("WGTWO_TEST_LIMIT") or 300)
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

local function how_it_ended(kind, number)
  if kind == "exit" and (number == 124 or number == 137) then return ("took longer than %g s"):format(limit) end
  if kind == "exit" and number > 128 then kind, number = "signal", number - 128 end
  return kind == "signal" and "was ended by signal " .. number or "ended with status " .. number
end

-- Shows and removes what sanitizers found meanwhile; returns how many reports.
local function collect_reports()
  if not reports then return 0 end
  local count = 0
  for name in require("lfs").dir(reports) do
    local path = reports .. "/" .. name
    local file = name:match("^report") and io.open(path)
    if file then
      count = count + 1
      io.stdout:write(file:read("a"))
      file:close()
      os.remove(path)
    end
  end
  return count
end

local function run_file(name, filter)
  local result_path = os.tmpname()
  -- SIGINT first: the test that hangs fails where it stands, with a traceback
  local command = ("WGTWO_TEST_RESULT=%s exec timeout --foreground -s INT -k 10 %g %s %s %s %s </dev/null 2>&1"):format(
    result_path, limit, quote(interpreter), quote(folder .. "/run.lua"), filter and "--filter=" .. quote(filter) or "",
    quote(name))
  io.stdout:flush()
  local pipe = assert(io.popen(command))
  for line in pipe:lines("L") do
    io.stdout:write(line)
    io.stdout:flush()
  end
  local ok, kind, number = pipe:close()
  local passed, failed, skipped, where = read_result(result_path)
  os.remove(result_path)
  local found = collect_reports()
  if found > 0 then
    failed = failed + found
    io.stdout:write(("%s: FAILED: %d sanitizer reports, above\n"):format(name, found))
  end
  if where ~= "" or (not ok and failed == 0) then
    failed = failed + 1
    io.stdout:write(("%s: FAILED: its process %s, %s\n"):format(name, how_it_ended(kind, number),
      where ~= "" and "in: " .. where or "after its tests"))
  end
  total.passed, total.failed, total.skipped = total.passed + passed, total.failed + failed, total.skipped + skipped
end

local files, filter = parse_arguments()
for _, name in ipairs(files) do run_file(name, filter) end
if total.passed + total.failed == 0 then
  io.stdout:write("no test ran\n")
  total.failed = 1
end
local line = ("%d passed, %d failed"):format(total.passed, total.failed)
print(total.skipped > 0 and line .. (", %d skipped"):format(total.skipped) or line)
os.exit(total.failed == 0)
