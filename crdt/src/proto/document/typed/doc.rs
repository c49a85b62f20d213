//! Views and edits as autosurgeon sees them: it reads from Automerge, and writes through an
//! [`Edit`].
//!
//! What goes wrong is remembered here, since autosurgeon's errors hold Automerge's alone.

use std::{cell::RefCell, fmt, ops::RangeBounds};

use automerge::{
    self as am, AutomergeError, ROOT, ReadDoc as _,
    iter::{ListRange, MapRange},
};

use crate::proto::document::{
    Kind,
    body::{Broken, guarded},
    content::{Content, Node, ObjId, Prop, Scalar},
    edit::{Edit, EditError},
    typed::Misshapen,
    view::{Source, View},
};

/// A [`View`] or an [`Edit`].
pub(super) struct Doc<D> {
    pub(super) on: D,
    /// Where was last looked: what doesn't fit is there.
    pub(super) at: RefCell<Option<(am::ObjId, am::Prop)>>,
    /// What went wrong that autosurgeon has no error for.
    pub(super) wrong: RefCell<Option<EditError>>,
}

/// What can be read.
pub(super) trait Readable {
    fn source(&self) -> Result<(Source<'_>, Option<&[am::ChangeHash]>), Broken>;

    /// A name of what is read now, which is another one after each edit.
    fn version(&self) -> Vec<am::ChangeHash>;
}

impl Readable for &View<'_> {
    fn source(&self) -> Result<(Source<'_>, Option<&[am::ChangeHash]>), Broken> {
        Ok((View::source(self), self.heads()))
    }

    fn version(&self) -> Vec<am::ChangeHash> {
        self.heads().map_or_else(|| self.body().version(), <[_]>::to_vec)
    }
}

impl Readable for &mut Edit<'_> {
    fn source(&self) -> Result<(Source<'_>, Option<&[am::ChangeHash]>), Broken> {
        Ok((self.body().source()?, None))
    }

    fn version(&self) -> Vec<am::ChangeHash> {
        self.body().version()
    }
}

/// Calls a method of `ReadDoc`, or its like for a version.
macro_rules! read {
    ($doc:expr, $source:ident => $now:expr, $heads:ident => $then:expr) => {{
        let (source, heads) = $doc.on.source().map_err(|broken| $doc.broken(broken))?;
        let read = match (source, heads) {
            (Source::Document($source), None) => guarded(|| $now),
            (Source::Open($source), None) => guarded(|| $now),
            (Source::Document($source), Some($heads)) => guarded(|| $then),
            (Source::Open($source), Some($heads)) => guarded(|| $then),
        };
        read.map_err(|broken| $doc.broken(broken))
    }};
}

impl<D: Readable> Doc<D> {
    fn broken(&self, broken: Broken) -> AutomergeError {
        self.wrong.borrow_mut().get_or_insert(EditError::Broken(broken));
        AutomergeError::Fail
    }

    /// What there is to say of an error of autosurgeon's.
    pub(super) fn misshapen(&self, view: &View<'_>, error: &dyn fmt::Display) -> Misshapen {
        let steps = self.at.borrow().as_ref().and_then(|(object, prop)| {
            let mut steps = view.path(ObjId::of(object)?).ok()??;
            steps.push((ObjId::of(object)?, Prop::of(prop.clone())));
            Some(steps)
        });
        let steps = steps.into_iter().flatten().map(|(_, prop)| match prop {
            Prop::Key(key) => key,
            Prop::Index(index) => index.to_string(),
        });
        let place = steps.collect::<Vec<_>>().join("/");
        let place = if place.is_empty() { "the root".to_owned() } else { place };
        Misshapen { place, reason: error.to_string() }
    }

    fn look(
        &self,
        object: &am::ObjId,
        prop: am::Prop,
    ) -> Result<Option<(am::Value<'_>, am::ObjId)>, AutomergeError> {
        *self.at.borrow_mut() = Some((object.clone(), prop.clone()));
        read!(self, doc => doc.get(object, prop), heads => doc.get_at(object, prop, heads))?
    }

    fn kind(&self, object: &am::ObjId) -> Result<am::ObjType, AutomergeError> {
        read!(self, doc => doc.object_type(object), _heads => doc.object_type(object))?
    }

    fn keys<'a, R: RangeBounds<String> + 'a>(
        &'a self,
        map: &am::ObjId,
        range: R,
    ) -> Result<MapRange<'a>, AutomergeError> {
        read!(self, doc => doc.map_range(map, range), heads => doc.map_range_at(map, range, heads))
    }

    fn items<R: RangeBounds<usize>>(
        &self,
        list: &am::ObjId,
        range: R,
    ) -> Result<ListRange<'_>, AutomergeError> {
        read!(
            self,
            doc => doc.list_range(list, range),
            heads => doc.list_range_at(list, range, heads)
        )
    }

    fn count(&self, object: &am::ObjId) -> Result<usize, AutomergeError> {
        read!(self, doc => doc.length(object), heads => doc.length_at(object, heads))
    }

    fn string(&self, text: &am::ObjId) -> Result<String, AutomergeError> {
        read!(self, doc => doc.text(text), heads => doc.text_at(text, heads))?
    }

    fn around(&self, object: &am::ObjId) -> Result<am::Parents<'_>, AutomergeError> {
        read!(self, doc => doc.parents(object), heads => doc.parents_at(object, heads))?
    }
}

/// Whoever reads an iterator that can't be had is told by [`Doc::wrong`].
impl<D: Readable> autosurgeon::ReadDoc for Doc<D> {
    type Parents<'a>
        = am::Parents<'a>
    where
        Self: 'a;

    fn get_heads(&self) -> Vec<am::ChangeHash> {
        self.on.version()
    }

    fn get<P: Into<am::Prop>>(
        &self,
        object: &am::ObjId,
        prop: P,
    ) -> Result<Option<(am::Value<'_>, am::ObjId)>, AutomergeError> {
        self.look(object, prop.into())
    }

    fn object_type<O: AsRef<am::ObjId>>(&self, object: O) -> Option<am::ObjType> {
        self.kind(object.as_ref()).ok()
    }

    fn map_range<'a, O, R>(&'a self, map: O, range: R) -> MapRange<'a>
    where
        R: RangeBounds<String> + 'a,
        O: AsRef<am::ObjId>,
    {
        self.keys(map.as_ref(), range).unwrap_or_default()
    }

    fn list_range<O: AsRef<am::ObjId>, R: RangeBounds<usize>>(
        &self,
        list: O,
        range: R,
    ) -> ListRange<'_> {
        self.items(list.as_ref(), range).unwrap_or_default()
    }

    fn length<O: AsRef<am::ObjId>>(&self, object: O) -> usize {
        self.count(object.as_ref()).unwrap_or(0)
    }

    fn text<O: AsRef<am::ObjId>>(&self, text: O) -> Result<String, AutomergeError> {
        self.string(text.as_ref())
    }

    fn parents<O: AsRef<am::ObjId>>(&self, object: O) -> Result<am::Parents<'_>, AutomergeError> {
        self.around(object.as_ref())
    }

    fn is_empty(&self) -> bool {
        self.map_range(ROOT, ..).next().is_none()
    }
}

impl Doc<&mut Edit<'_>> {
    /// Writes, unless something went wrong before.
    fn edit<T>(
        &mut self,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, EditError>,
    ) -> Result<T, AutomergeError> {
        if self.wrong.get_mut().is_some() {
            return Err(AutomergeError::Fail);
        }
        edit(self.on).map_err(|error| {
            *self.wrong.get_mut() = Some(error);
            AutomergeError::Fail
        })
    }
}

fn object(id: &am::ObjId) -> Result<ObjId, EditError> {
    ObjId::of(id).ok_or(EditError::NotFound)
}

fn kind(kind: am::ObjType) -> Result<Kind, EditError> {
    Kind::of(kind).ok_or(EditError::Unsupported)
}

/// Puts a value where another one is shown. A counter is made equal by adding to it. What is shown
/// already isn't written, even if other values conflict with it: nobody has decided about them.
fn put(edit: &mut Edit<'_>, object: ObjId, prop: Prop, value: Scalar) -> Result<(), EditError> {
    let there = match (edit.view()?.kind(object)?, &prop) {
        (Kind::Map, Prop::Key(_)) | (Kind::List, Prop::Index(_)) => {
            edit.view()?.conflicts(object, prop.clone())?
        }
        _ => Vec::new(),
    };
    let is_counter = |node: &Node| matches!(node, Node::Scalar(Scalar::Counter(_)));
    match (there.last(), &value) {
        (Some((Node::Scalar(shown), _)), value) if shown == value => Ok(()),
        (Some((Node::Scalar(Scalar::Counter(shown)), _)), Scalar::Counter(value))
            if there.iter().all(|(node, _)| is_counter(node)) =>
        {
            let by = value.checked_sub(*shown).ok_or(EditError::TooLarge)?;
            edit.increment(object, prop, by)
        }
        _ => edit.put(object, prop, value),
    }
}

impl autosurgeon::Doc for Doc<&mut Edit<'_>> {
    fn put<O: AsRef<am::ObjId>, P: Into<am::Prop>, V: Into<am::ScalarValue>>(
        &mut self,
        id: O,
        prop: P,
        value: V,
    ) -> Result<(), AutomergeError> {
        let (prop, value) = (Prop::of(prop.into()), Scalar::of(&value.into()));
        self.edit(|edit| put(edit, object(id.as_ref())?, prop, value))
    }

    fn put_object<O: AsRef<am::ObjId>, P: Into<am::Prop>>(
        &mut self,
        id: O,
        prop: P,
        of: am::ObjType,
    ) -> Result<am::ObjId, AutomergeError> {
        let prop = Prop::of(prop.into());
        let put = |edit: &mut Edit<'_>| edit.put_object(object(id.as_ref())?, prop, kind(of)?);
        Ok(self.edit(put)?.to_automerge())
    }

    fn insert<O: AsRef<am::ObjId>, V: Into<am::ScalarValue>>(
        &mut self,
        list: O,
        index: usize,
        value: V,
    ) -> Result<(), AutomergeError> {
        let value = Scalar::of(&value.into());
        self.edit(|edit| edit.insert(object(list.as_ref())?, index, value))
    }

    fn insert_object<O: AsRef<am::ObjId>>(
        &mut self,
        list: O,
        index: usize,
        of: am::ObjType,
    ) -> Result<am::ObjId, AutomergeError> {
        let insert =
            |edit: &mut Edit<'_>| edit.insert_object(object(list.as_ref())?, index, kind(of)?);
        Ok(self.edit(insert)?.to_automerge())
    }

    fn increment<O: AsRef<am::ObjId>, P: Into<am::Prop>>(
        &mut self,
        id: O,
        prop: P,
        by: i64,
    ) -> Result<(), AutomergeError> {
        // autosurgeon's own counter adds nothing, when nothing was added to it.
        if by == 0 {
            return Ok(());
        }
        let prop = Prop::of(prop.into());
        self.edit(|edit| edit.increment(object(id.as_ref())?, prop, by))
    }

    fn delete<O: AsRef<am::ObjId>, P: Into<am::Prop>>(
        &mut self,
        id: O,
        prop: P,
    ) -> Result<(), AutomergeError> {
        let prop = Prop::of(prop.into());
        self.edit(|edit| edit.delete(object(id.as_ref())?, prop))
    }

    /// By bytes of the text, as `autosurgeon::Text` counts, who alone calls this.
    fn splice_text<O: AsRef<am::ObjId>>(
        &mut self,
        text: O,
        position: usize,
        delete: isize,
        insert: &str,
    ) -> Result<(), AutomergeError> {
        self.edit(|edit| {
            let object = object(text.as_ref())?;
            let (view, count) = (edit.view()?, delete.unsigned_abs());
            let (there, unit) = (view.text(object)?, view.unit());
            // A negative count deletes what is before.
            let start = if delete < 0 { position.saturating_sub(count) } else { position };
            let end = start.checked_add(count).ok_or(EditError::OutOfRange)?;
            let before = there.get(..start).ok_or(EditError::OutOfRange)?;
            let gone = there.get(start..end).ok_or(EditError::OutOfRange)?;
            edit.splice_text(object, unit.of_str(before), unit.of_str(gone), insert)
        })
    }

    fn update_text<O: AsRef<am::ObjId>>(
        &mut self,
        text: O,
        new: &str,
    ) -> Result<(), AutomergeError> {
        self.edit(|edit| edit.update_text(object(text.as_ref())?, new))
    }

    fn batch_create<O: AsRef<am::ObjId>, P: Into<am::Prop>>(
        &mut self,
        id: O,
        prop: P,
        value: am::hydrate::Value,
        insert: bool,
    ) -> Result<(), AutomergeError> {
        let (prop, content) = (Prop::of(prop.into()), Content::of(&value));
        self.edit(|edit| {
            let object = object(id.as_ref())?;
            match (prop, content) {
                (Prop::Index(index), content) if insert => {
                    edit.insert_content(object, index, &content).map(drop)
                }
                (prop, Content::Scalar(value)) => put(edit, object, prop, value),
                (prop, content) => edit.put_content(object, prop, &content).map(drop),
            }
        })
    }

    fn init_root_from_hydrate(&mut self, value: &am::hydrate::Map) -> Result<(), AutomergeError> {
        let root = Content::of(&am::hydrate::Value::Map(value.clone()));
        self.edit(|edit| edit.fill(ObjId::Root, &root))
    }
}
