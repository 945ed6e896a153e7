--- The state file: everything that a snapshot has, over a restart of the sandbox, in an SQLite database.
--
-- One row an event, one for its deliveries, and one with all the rest. What has changed is written at the end of a turn
-- of the loop, but not more often than five times a second: a sandbox that is killed has lost a fifth of a second at
-- most. One that ends has written everything. The journal is not in it.
--
-- SQLite comes through LuaDBI (Debian's lua-dbi-sqlite3), which nothing else needs, so it is loaded here only.
--
-- @module wgtwo.sandbox.state

local core = require "wgtwo.core"
local reactor = require "wgtwo.sandbox.reactor"
local snapshot = require "wgtwo.sandbox.snapshot"

local State = {}
State.__index = State

local state = {}

local LOCK <const> = "-lock" -- the file beside it that its sandbox holds
local INTERVAL <const>, RETRY <const> = 0.2, 1 -- seconds of real time between two writes; after one that failed
local TABLES <const> = {
  "create table if not exists event (id integer primary key, value text not null)",
  "create table if not exists delivery (id integer primary key, value text not null)", -- id: the event's
  "create table if not exists state (name text primary key, value text not null)",
}

local function prepare(self, sql)
  local statement, problem = self.connection:prepare(sql)
  return statement or error(problem, 0)
end

--- Executes a statement. One that fails is closed: as long as it is open nothing can be committed.
local function execute(statement, ...)
  local ok, problem = statement:execute(...)
  if ok then return end
  statement:close()
  error(problem, 0)
end

local function run(self, sql, ...)
  local statement = prepare(self, sql)
  execute(statement, ...)
  return statement
end

local function commit(self)
  if not self.connection:commit() then error("the changes cannot be committed", 0) end
end

local function change(self, sql, ...)
  run(self, sql, ...):close()
end

local function values(self, sql)
  local list, statement = {}, run(self, sql)
  for row in statement:rows() do list[#list + 1] = row[1] end
  statement:close()
  return list
end

--- Every event with its deliveries.
local function read_events(self)
  local list = {}
  local statement = run(self, "select event.value, delivery.value from event left join delivery using (id) order by id")
  for row in statement:rows() do
    local event = assert(core.json_decode(row[1]))
    event.records = row[2] and assert(core.json_decode(row[2]))
    list[#list + 1] = event
  end
  statement:close()
  return list
end

-- Reading -------------------------------------------------------------------------------------------------------------

--- What was written before, as a snapshot; nil from a new file.
local function read(self)
  for _, sql in ipairs(TABLES) do change(self, sql) end
  commit(self)
  local rest = values(self, "select value from state where name = 'snapshot'")[1]
  if not rest then return nil end
  local taken = assert(core.json_decode(rest))
  taken.events = read_events(self)
  return taken
end

-- Writing -------------------------------------------------------------------------------------------------------------

--- The ids of the events that were delivered.
local function delivered(log)
  local set = {}
  for id = log.first, log.last do
    if log:get(id).newest_record then set[id] = true end
  end
  return set
end

local function write_events(self)
  local log = self.sandbox.log
  local oldest = log:oldest()
  if log ~= self.log then -- a reset, a snapshot that was put back, or what could not be written
    change(self, "delete from event")
    change(self, "delete from delivery")
    self.log, self.written = log, 0
    log.touched = delivered(log)
  end
  change(self, "delete from event where id < ?", oldest)
  change(self, "delete from delivery where id < ?", oldest)
  if self.written >= log.last then return end
  local insert = prepare(self, "insert or replace into event values (?, ?)")
  for id = math.max(oldest, self.written + 1), log.last do
    execute(insert, id, core.json_encode(snapshot.event(log:get(id))))
  end
  insert:close()
  self.written = log.last
end

local function write_deliveries(self)
  local log = self.log
  if not next(log.touched) then return end
  local insert = prepare(self, "insert or replace into delivery values (?, ?)")
  for id in pairs(log.touched) do
    local event = log:get(id)
    if event then execute(insert, id, core.json_encode(snapshot.records(event))) end
  end
  insert:close()
end

local function write(self)
  write_events(self)
  write_deliveries(self)
  change(self, "insert or replace into state values ('snapshot', ?)",
    core.json_encode(snapshot.without_events(self.sandbox)))
  commit(self)
  self.log.touched = {}
end

--- How much has happened so far: what is the same since the last write needs no other.
local function happened(self)
  return self.sandbox.reactor.handled + self.sandbox.clock.fired
end

--- Writes what has changed. What cannot be written is tried again; the reason is told once.
function State:save()
  local now, seen = core.now(), happened(self)
  if seen == self.seen then return end
  local ok, problem = pcall(write, self)
  if ok then
    self.due, self.seen, self.problem = now + INTERVAL, seen, nil
    return
  end
  self.connection:rollback()
  self.due, self.log = now + RETRY, nil -- all events anew, the next time
  if reactor.is_interrupt(problem) then error(problem, 0) end -- the sandbox ends, and tries once more
  problem = tostring(problem)
  if problem ~= self.problem then
    io.stderr:write(("wgtwo sandbox: cannot write %s: %s\n"):format(self.path, problem))
  end
  self.problem = problem
end

local function at_turn_end(self)
  if happened(self) == self.seen then return end
  if core.now() >= self.due then self:save() end
  if happened(self) ~= self.seen then self.sandbox.reactor:wake_at(self.due) end
end

local function release(self)
  self.connection:close()
  os.remove(self.path .. LOCK)
  self.lock:close()
end

--- Writes the last changes, among them that every stream has ended, and closes the file.
function State:close()
  self.seen, self.problem = -1, nil
  self:save()
  release(self)
end

local function connect(path)
  local found, dbi = pcall(require, "DBI")
  if not found then return nil, "state needs SQLite for Lua: install lua-dbi-sqlite3 (LuaRocks: luadbi-sqlite3)" end
  local file, reason = io.open(path, "ab") -- says why not better than SQLite does
  if not file then return nil, "cannot open the state file " .. reason end
  file:close()
  local connection, problem = dbi.Connect("SQLite3", path)
  if not connection then return nil, ("cannot open the state file %s: %s"):format(path, tostring(problem)) end
  return connection
end

--- Takes hold of a state file, so that no second sandbox writes over what this one has written. SQLite's lock in a file
-- beside it ends with this process; the file itself can be read meanwhile.
local function hold(path)
  local connection, problem = connect(path .. LOCK)
  if not connection then return nil, problem end
  local self = { connection = connection }
  local ok, wrong = pcall(function()
    change(self, "pragma locking_mode = exclusive")
    change(self, "create table if not exists holder (pid integer)")
    change(self, "delete from holder") -- takes the lock, which stays after the commit
    commit(self)
  end)
  if ok then return connection end
  connection:close()
  if not tostring(wrong):find("locked", 1, true) then return nil, "cannot lock " .. path .. ": " .. tostring(wrong) end
  return nil, ("the state file %s is in use by another sandbox: end that first, or choose another file"):format(path)
end

local function keep(self, name, good, make)
  for _, sql in ipairs(TABLES) do change(self, sql) end
  local text = values(self, ("select value from state where name = '%s'"):format(name))[1]
  local kept = text and core.json_decode(text)
  if not kept or not good(kept) then
    kept = make()
    change(self, "insert or replace into state values (?, ?)", name, core.json_encode(kept))
  end
  commit(self)
  return kept
end

--- What a sandbox has for longer than one life, such as its certificate: from the file, or made and put there.
-- @tparam string path
-- @tparam string name
-- @tparam function good says of the table that is there whether it may be used
-- @tparam function make a new one
-- @treturn ?table
-- @treturn ?string why not
function state.keep(path, name, good, make)
  local connection, problem = connect(path)
  if not connection then return nil, problem end
  local ok, kept = pcall(keep, { connection = connection }, name, good, make)
  connection:close()
  if not ok then return nil, ("%s is no state file of a sandbox: %s"):format(path, tostring(kept)) end
  return kept
end

--- Plans of fake events that the settings name win, unless they are those from before, which go on where they were.
local function choose_plans(taken, wanted)
  if not wanted or not taken.plans then return end
  local function text(plans)
    local list = {}
    for i, plan in ipairs(plans) do
      list[i] = { types = plan.types, rate = plan.rate, numbers = plan.numbers, client = plan.client }
    end
    return core.json_encode(list)
  end
  if text(taken.plans) ~= text(wanted) then taken.plans = nil end
end

--- Opens the state file, and puts back what is in it.
-- @tparam table sandbox the server, at its beginning
-- @tparam string path
-- @treturn ?table
-- @treturn ?string why not
function state.open(sandbox, path)
  local connection, problem = connect(path)
  if not connection then return nil, problem end
  local lock
  lock, problem = hold(path)
  if not lock then
    connection:close()
    return nil, problem
  end
  local self = setmetatable({ sandbox = sandbox, path = path, connection = connection, lock = lock, written = 0,
    seen = -1, due = -math.huge }, State)
  local ok, taken = pcall(read, self)
  if not ok then
    release(self)
    return nil, ("%s is no state file of a sandbox: %s"):format(path, tostring(taken))
  end
  if taken then
    choose_plans(taken, sandbox.settings.generate)
    ok, problem = snapshot.restore(sandbox, taken)
    if not ok then
      release(self)
      return nil, ("%s: %s"):format(path, problem)
    end
  end
  self.log, self.written = sandbox.log, sandbox.log.last
  self.log.touched = {}
  sandbox.reactor:at_turn_end(function() at_turn_end(self) end)
  return self
end

return state
