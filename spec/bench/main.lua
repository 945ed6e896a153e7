-- make bench: measures this rock against the bare client, and prints one table.
--
--   lua5.4 spec/bench/main.lua [--rows=stream,ack] [--rounds=5] [--quick] [--build=DIR] [--json=FILE]
--
-- Each group of rows is a module: `measure(bench)` runs its programs in turn, round after round, and adds rows;
-- `client` has what its Lua processes do (client.lua). --quick measures a twentieth as much in one round: enough to see
-- that all works.

local programs = require "spec.bench.programs"
local report = require "spec.bench.report"

local GROUPS = { "stream", "ack", "unary", "codec", "memory", "idle", "start", "scaling", "sandbox" }

local function read_options(arguments)
  local o = { rows = table.concat(GROUPS, ","), rounds = 5, build = ".build/bench" }
  for _, argument in ipairs(arguments) do
    local name, value = argument:match("^%-%-(%a+)=(.+)$")
    name = name or argument:match("^%-%-(%a+)$")
    if not name or not (o[name] or name == "quick" or name == "json") then
      io.stderr:write("unknown option ", argument, ": --rows=", o.rows, " --rounds=N --quick --build=DIR --json=FILE\n")
      os.exit(2)
    end
    o[name] = value or true
  end
  o.rounds = o.quick and 1 or math.tointeger(tonumber(o.rounds))
  o.json = o.json or o.build .. "/../bench.json"
  return o
end

local options = read_options(arg)
programs.build = options.build

local bench = { rows = {}, quick = options.quick }

--- So many events or calls; fewer in a quick run.
function bench.amount(n)
  return options.quick and math.max(1, n // 20) or n
end

--- Runs each program once a round, in turn.
-- @tparam table variants list of {name, program, argument, …}; a program that is a function is called, else it is run
-- @treturn table for each name a function that picks one field of its results: a list, one a round
function bench.alternate(variants)
  local results = {}
  for _, variant in ipairs(variants) do results[variant[1]] = {} end
  for _ = 1, options.rounds do
    for _, variant in ipairs(variants) do
      local run = type(variant[2]) == "function" and variant[2] or programs.run
      local list = results[variant[1]]
      list[#list + 1] = run(table.unpack(variant, run == programs.run and 2 or 3))
      io.stderr:write(".")
    end
  end
  local picks = {}
  for name, list in pairs(results) do
    picks[name] = function(field, scale)
      local values = {}
      for i, result in ipairs(list) do
        values[i] = (result[field] or error(("%s printed no %s"):format(name, field))) * (scale or 1)
      end
      return values
    end
  end
  return picks
end

function bench.row(row)
  row.group = bench.group
  bench.rows[#bench.rows + 1] = report.row(row)
end

local begun = os.time()
for group in options.rows:gmatch("[^,%s]+") do
  bench.group = group
  io.stderr:write(group, " ")
  require("spec.bench." .. group).measure(bench)
  io.stderr:write("\n")
end

local machine = report.machine(programs.run(options.build .. "/bare", "version").grpc, programs.lua)
local took = os.time() - begun
print(("%s, %d cores of %s, Linux %s, gRPC C core %s, Lua %s; medians of %d rounds, %d s\n"):format(
  machine.date, machine.cores, machine.cpu, machine.kernel, machine.grpc, machine.lua, options.rounds, took))
print(report.markdown(bench.rows))

local file = assert(io.open(options.json, "w"))
local result = { machine = machine, rounds = options.rounds, seconds = took, rows = bench.rows }
file:write(require("wgtwo.core").json_encode(result, 2), "\n")
file:close()
